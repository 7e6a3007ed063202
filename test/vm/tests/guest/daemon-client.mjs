// SPDX-License-Identifier: Apache-2.0
//
// In the guest: the daemon of this checkout, and what a client says to it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

const base = 'http://127.0.0.1:8080';

/** Starts the daemon. @returns a function that ends it, and sees that it ends well */
export async function startDaemon(environment = {}, stdio = 'inherit') {
  const daemon = spawn(process.execPath, ['/repo/dist/services/daemon/main.js'], {
    stdio,
    env: {
      ...process.env,
      DMAD_INSECURE: '1', // real devices without tokens: refused otherwise
      DMAD_PORT: '8080',
      DMAD_STATE_DIR: '/tmp/dmad',
      ...environment,
    },
  });
  const exited = once(daemon, 'exit');
  process.on('exit', () => daemon.kill('SIGKILL'));
  // Under emulation it takes seconds to start, many on a busy machine.
  await until('the daemon is ready', async () => {
    assert.equal(daemon.exitCode, null, 'the daemon ended');
    return (await request('/readyz').catch(() => undefined))?.status === 200;
  });
  return async () => {
    daemon.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
  };
}

/** Waits until `holds` gives something; the lab's time limit ends it else. @returns that */
export async function until(what, holds) {
  console.log(`until ${what}`);
  for (;;) {
    const found = await holds();
    if (found) return found;
    await sleep(100);
  }
}

export async function request(path, options) {
  const response = await fetch(base + path, options);
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

export async function json(path, options) {
  const { status, body } = await request(path, options);
  return { status, body: JSON.parse(body.toString()) };
}

export function transfer(body, headers = {}) {
  return json('/transfers', {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=60', ...headers },
    body: JSON.stringify(body),
  });
}

export async function write(device, offset, bytes) {
  const { status } = await request(`/devices/${device}/content?offset=${offset}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes,
  });
  assert.equal(status, 200);
}

export async function read(device, offset, size) {
  const { status, body } = await request(`/devices/${device}/content`, {
    headers: { range: `bytes=${offset}-${offset + size - 1}` },
  });
  assert.equal(status, 206);
  return body;
}

/** A sample of /metrics, such as `dmad_dma_errors_total{error="read"}`. */
export async function metric(name) {
  const { body } = await request('/metrics');
  const line = body
    .toString()
    .split('\n')
    .find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
}
