// SPDX-License-Identifier: Apache-2.0
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchJson, jsonBody } from '../support/fetch.ts';

/** Past the daemon's limit of 30 s for a JSON body, and past what a reader may rest. */
const PAST_LIMITS_MS = 35_000;
/** More than the kernel buffers of both ends hold. */
const DEVICES = 'emulated:dax0.0=256MiB';

test('clients that announce a body and send none, or do not read, harm nobody', async () => {
  const daemon = new Daemon({ DMAD_DEVICES: DEVICES, DMAD_DOWNLOAD_IDLE_SECONDS: '10' });
  try {
    const url = await daemon.ready();
    const { hostname, port } = new URL(url);
    const open = async (request: string, read: boolean): Promise<Peer> => {
      const socket = connect(Number(port), hostname);
      const peer: Peer = { socket, received: '', closed: false };
      socket.on('error', () => {});
      socket.on('close', () => {
        peer.closed = true;
      });
      if (read) {
        socket.on('data', (data) => {
          peer.received += data.toString('latin1');
        });
      }
      socket.write(request);
      return peer;
    };
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 2 ** 20, size: 1 });
    const transfer = { device_name: 'dax0.0', durability: 'none', segments };
    for (let i = 0; i < 16; i++) await fetchJson(`${url}/transfers`, jsonBody(transfer));
    const json = 'Content-Type: application/json\r\nContent-Length: 10\r\n\r\n';
    const post = await open(`POST /transfers HTTP/1.1\r\nHost: localhost\r\n${json}`, true);
    // A GET that is answered slowly, and whose body nobody reads.
    const get = await open(`GET /events HTTP/1.1\r\nHost: localhost\r\n${json}`, true);
    const download = await open(
      'GET /devices/dax0.0/content HTTP/1.1\r\nHost: localhost\r\n\r\n',
      false,
    );
    // Answers of 100 MiB together, on one connection.
    const page = 'GET /transfers?page_size=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const pages = await open(page.repeat(15), false);
    await sleep(PAST_LIMITS_MS);
    expect(post.received).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s);
    expect(get.received).toMatch(/^HTTP\/1.1 200 .*text\/event-stream/s);
    expect(get.closed).toBe(false);
    // Broken off: what comes now ends long before the whole.
    let rest = 0;
    download.socket.on('data', (data) => {
      rest += data.length;
    });
    while (!download.closed) await sleep(20);
    expect(rest).toBeLessThan(256 * 2 ** 20);
    pages.socket.on('data', (data) => {
      pages.received += data.toString('latin1');
    });
    while (!pages.closed) await sleep(20);
    expect(pages.received.split('HTTP/1.1 200 ').length).toBeLessThan(16);
    get.socket.destroy();
    expect(daemon.log().some(({ msg }) => msg === 'download broken off')).toBe(true);
  } finally {
    expect((await daemon.stop()).code).toBe(0);
  }
}, 90_000);

interface Peer {
  socket: Socket;
  received: string;
  closed: boolean;
}
