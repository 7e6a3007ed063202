// SPDX-License-Identifier: Apache-2.0
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';

const CONNECT = 'CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n';
const GET = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n';

test.each([
  ['alone', CONNECT],
  ['behind a request', GET + CONNECT],
])(
  'CONNECT %s, from clients that leave at once, does the daemon no harm',
  async (_, bytes) => {
    const daemon = new Daemon();
    const port = Number(new URL(await daemon.ready()).port);
    for (let n = 0; n < 100; n++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.write(bytes, () => (n % 2 === 0 ? socket.resetAndDestroy() : socket.destroy()));
      if (n % 10 === 0) await sleep(20);
    }
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
    expect((await daemon.stop('SIGTERM')).code).toBe(0);
  },
  60_000,
);

test('CONNECT behind an answer that nobody reads does not hold up the end', async () => {
  const daemon = new Daemon({
    ...{ DMAD_DEVICES: 'emulated:dax0.0=64MiB', DMAD_DRAIN_SECONDS: '1' },
  });
  const port = Number(new URL(await daemon.ready()).port);
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  const content = 'GET /devices/dax0.0/content HTTP/1.1\r\nHost: localhost\r\n\r\n';
  socket.write(content + CONNECT);
  await sleep(500);
  const ended = await Promise.race([daemon.stop('SIGTERM'), sleep(15_000, undefined)]);
  expect(ended?.code).toBe(0);
  socket.destroy();
}, 60_000);
