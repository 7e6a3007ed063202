// SPDX-License-Identifier: Apache-2.0
//
// In the guest: starts the daemon, finds the device-dax devices through it, has the CPU
// engine copy between them, and reads the bytes back.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

const base = 'http://127.0.0.1:8080';
const MiB = 1024 * 1024;

const daemon = spawn(process.execPath, ['/repo/dist/services/daemon/main.js'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    DMAD_INSECURE: '1', // real devices without tokens: refused otherwise
    DMAD_PORT: '8080',
    DMAD_STATE_DIR: '/tmp/dmad',
  },
});
const exited = once(daemon, 'exit');

async function request(path, options) {
  const response = await fetch(base + path, options);
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

async function json(path, options) {
  const { status, body } = await request(path, options);
  return { status, body: JSON.parse(body.toString()) };
}

// Under emulation it takes seconds to start, many on a busy machine.
async function ready() {
  for (;;) {
    assert.equal(daemon.exitCode, null, 'the daemon ended');
    try {
      if ((await request('/readyz')).status === 200) return;
    } catch {
      // not listening yet
    }
    await sleep(250);
  }
}

try {
  await ready();

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

  const pattern = Buffer.alloc(MiB, 'device-dax ');
  const put = await json('/devices/dax0.0/content?offset=4096', {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: pattern,
  });
  assert.equal(put.status, 200);

  const transfer = await json('/transfers', {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=60' },
    body: JSON.stringify({
      device_name: '/dev/dax0.0',
      dst_device_name: '/dev/dax1.0',
      src_offset: 4096,
      dst_offset: '3MiB',
      size: MiB,
      engine: 'cpu',
      verify: 'crc32c',
    }),
  });
  console.log(JSON.stringify(transfer.body));
  assert.equal(transfer.status, 201);
  assert.equal(transfer.body.status, 'succeeded');
  assert.equal(transfer.body.engine, 'cpu');
  assert.equal(transfer.body.durability.achieved, 'flush');
  assert.match(transfer.body.durability.basis, /^(clwb|clflushopt|clflush)$/);

  const copied = await request('/devices/dax1.0/content', {
    headers: { range: `bytes=${3 * MiB}-${4 * MiB - 1}` },
  });
  assert.equal(copied.status, 206);
  assert.ok(copied.body.equals(pattern), 'the bytes are not those of the source');

  daemon.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
} finally {
  daemon.kill('SIGKILL');
}
