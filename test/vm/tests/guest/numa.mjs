// SPDX-License-Identifier: Apache-2.0
//
// In the guest, which has two NUMA nodes with a device each: where the daemon's thread is
// while it copies.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { json, startDaemon, transfer, until } from './daemon-client.mjs';

const MiB = 1024 * 1024;

const stop = await startDaemon();

const { body } = await json('/devices');
const nodes = new Map(body.devices.map(({ name, numa_node }) => [name, numa_node]));
console.log(nodes);
assert.deepEqual([...nodes.values()].toSorted(), [0, 1]);

for (const destination of [...nodes.keys(), ...nodes.keys()]) {
  const source = destination === 'dax0.0' ? 'dax1.0' : 'dax0.0';
  const path = `/sys/devices/system/node/node${nodes.get(destination)}/cpulist`;
  const near = readFileSync(path, 'latin1').trim();
  // longer than anybody takes to look; once it is idle the thread may be anywhere
  const segments = Array(1000).fill({ src_offset: 0, dst_offset: 0, size: 64 * MiB });
  const { body: copying } = await transfer(
    { device_name: source, dst_device_name: destination, segments, engine: 'cpu' },
    { prefer: 'respond-async' },
  );
  await until(`it copies to ${destination} on ${near}`, () => allowed('dma-copy-0') === near);
  assert.notEqual(allowed('node'), near);
  const cancelled = await json(`/transfers/${copying.id}/cancel`, { method: 'POST' });
  assert.equal(cancelled.body.status, 'cancelled');
}

await stop();

/** The CPUs on which the threads of that name may run. */
function allowed(name) {
  for (const task of tasks()) {
    const status = unlessOver(() => readFileSync(`${task}/status`, 'latin1')) ?? '';
    if (!status.startsWith(`Name:\t${name}\n`)) continue;
    return /Cpus_allowed_list:\t(.*)/.exec(status)[1];
  }
  assert.fail(`no thread is called ${name}`);
}

/** Of all processes but this one. */
function* tasks() {
  for (const pid of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    if (pid === `${process.pid}`) continue;
    const names = unlessOver(() => readdirSync(`/proc/${pid}/task`)) ?? [];
    for (const task of names) yield `/proc/${pid}/task/${task}`;
  }
}

/** What `read` gives; undefined where the process has ended meanwhile. */
function unlessOver(read) {
  try {
    return read();
  } catch {
    return undefined;
  }
}
