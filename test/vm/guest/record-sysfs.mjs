// SPDX-License-Identifier: Apache-2.0
//
// Prints the sysfs trees of the device-dax and NVDIMM devices as one JSON object, for
// tests of what reads them: path -> {"link": target}, {"file": content} or, where root
// itself could not read it, {"error": code}. Folders are implied by what lies in them.
// Run in a guest; tests/record-fixtures keeps the results in test/fixtures/sysfs.
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';

const roots = ['/sys/bus/dax', '/sys/bus/nd', '/sys/class/dax', '/sys/class/nd'];
const records = {};

// power/ is the same in every device and says nothing about memory; bind, unbind and
// their like can only be written.
const skipped = /\/(power|bind|unbind|new_id|remove_id|uevent|drivers_probe|module)$/;

function record(path) {
  if (path in records || skipped.test(path)) return;
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) {
    records[path] = { link: readlinkSync(path) };
  } else if (stat.isDirectory()) {
    for (const name of readdirSync(path)) record(`${path}/${name}`);
  } else {
    try {
      records[path] = { file: readFileSync(path, 'latin1') };
    } catch (error) {
      records[path] = { error: error.code };
    }
  }
}

for (const root of roots) {
  try {
    record(root);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}
for (const [path, { link }] of Object.entries(records)) {
  if (!link || !path.includes('/devices/')) continue;
  const device = realpathSync(path);
  record(device);
  if (records[`${device}/dev`]?.file) {
    record(`/sys/dev/char/${records[`${device}/dev`].file.trim()}`);
  }
}

const sorted = Object.fromEntries(Object.entries(records).sort(([a], [b]) => (a < b ? -1 : 1)));
process.stdout.write(`${JSON.stringify(sorted, null, 1)}\n`);
