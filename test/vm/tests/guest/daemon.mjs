// SPDX-License-Identifier: Apache-2.0
//
// In the guest: starts the daemon, finds the device-dax devices through it, has the CPU
// engine copy between them, and reads the bytes back.
import assert from 'node:assert/strict';
import { readFileSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { json, read, startDaemon, transfer, write } from './daemon-client.mjs';

const MiB = 1024 * 1024;

const stop = await startDaemon();

const { body: listed } = await json('/devices');
assert.deepEqual(
  listed.devices.map(({ name, path, kind, align }) => ({ name, path, kind, align })),
  ['dax0.0', 'dax1.0'].map((name) => ({
    name,
    path: `/dev/${name}`,
    kind: 'devdax',
    align: 2 * MiB,
  })),
);

// Each is known by the uuid of its namespace, as the kernel has it.
const uuids = listed.devices.map(({ uuid }) => uuid);
assert.equal(new Set(uuids).size, 2);
for (const { name, uuid, resource } of listed.devices) {
  const device = realpathSync(`/sys/bus/dax/devices/${name}`);
  assert.equal(uuid, readFileSync(`${dirname(device)}/uuid`, 'utf8').trim());
  assert.equal(resource, Number(readFileSync(`${device}/resource`, 'utf8')));
}

const pattern = Buffer.alloc(MiB, 'device-dax ');
await write('dax0.0', 4096, pattern);
const copied = await transfer({
  device_name: '/dev/dax0.0',
  dst_device_name: '/dev/dax1.0',
  src_offset: 4096,
  dst_offset: '3MiB',
  size: MiB,
  engine: 'cpu',
  verify: 'crc32c',
});
console.log(JSON.stringify(copied.body));
assert.equal(copied.status, 201);
assert.equal(copied.body.status, 'succeeded');
assert.equal(copied.body.engine, 'cpu');
assert.equal(copied.body.durability.achieved, 'flush');
assert.match(copied.body.durability.basis, /^(clwb|clflushopt|clflush)$/);
assert.ok((await read('dax1.0', 3 * MiB, MiB)).equals(pattern), 'other bytes than the source has');

await stop();
