// SPDX-License-Identifier: Apache-2.0
//
// In the guest, which has two NUMA nodes with a device each: where the daemon's thread is
// after it has copied.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { json, startDaemon, transfer } from './daemon-client.mjs';

const stop = await startDaemon();

const { body } = await json('/devices');
const nodes = new Map(body.devices.map(({ name, numa_node }) => [name, numa_node]));
console.log(nodes);
assert.deepEqual([...nodes.values()].toSorted(), [0, 1]);

for (const destination of [...nodes.keys(), ...nodes.keys()]) {
  const source = destination === 'dax0.0' ? 'dax1.0' : 'dax0.0';
  const range = { src_offset: 0, dst_offset: 0, size: '8MiB' };
  const copied = await transfer({
    ...{ device_name: source, dst_device_name: destination, ...range, engine: 'cpu' },
  });
  assert.equal(copied.body.status, 'succeeded');
  const near = readFileSync(
    `/sys/devices/system/node/node${nodes.get(destination)}/cpulist`,
    'latin1',
  );
  assert.equal(allowed('dma-copy-0'), near.trim(), `copying to ${destination}`);
  assert.notEqual(allowed('node'), near.trim());
}

await stop();

/** The CPUs on which the threads of that name may run. */
function allowed(name) {
  for (const pid of readdirSync('/proc').filter(
    (each) => /^\d+$/.test(each) && each !== `${process.pid}`,
  )) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1');
      if (!status.startsWith(`Name:\t${name}\n`)) continue;
      return /Cpus_allowed_list:\t(.*)/.exec(status)[1];
    }
  }
  assert.fail(`no thread is called ${name}`);
}
