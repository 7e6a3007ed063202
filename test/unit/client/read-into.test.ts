// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type ConnectedClient, connect } from '../../../services/client/node.ts';

const SIZE = 300_000;
const BYTES = Buffer.from(Array.from({ length: SIZE }, (_, i) => i % 251));

let server: Server;
let client: ConnectedClient;
let answer: RequestListener;
let stop: AbortController;
beforeEach(async () => {
  server = createServer((request, response) => answer(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  client = connect({ url: `http://127.0.0.1:${port}/below`, token: 'secret' });
  stop = new AbortController();
});
afterEach(async () => {
  await client.destroy();
  server.closeAllConnections();
  server.close();
});

const range = (first: number, size: number) => ({
  'content-range': `bytes ${first}-${first + size - 1}/${SIZE}`,
});
const memory = () => new Uint8Array(new SharedArrayBuffer(1000));
const read = (into: Uint8Array, onBytes: (count: number) => void = () => {}) =>
  client.readInto('dax0.0', {
    ...{ offset: 5000, size: into.length, memory: into },
    ...{ signal: stop.signal, onBytes },
  });

test('the bytes that were asked for', async () => {
  answer = ({ url, headers }, response) => {
    expect(url).toBe('/below/devices/dax0.0/content');
    expect(headers).toMatchObject({ range: 'bytes=5000-5999', authorization: 'Bearer secret' });
    response.writeHead(206, { 'content-length': 1000, ...range(5000, 1000) });
    response.end(BYTES.subarray(5000, 6000));
  };
  const into = memory();
  let counted = 0;
  await read(into, (count) => {
    counted += count;
  });
  expect(Buffer.from(into).equals(BYTES.subarray(5000, 6000))).toBe(true);
  expect(counted).toBe(1000);
});

test.each<[string, RequestListener, object]>([
  [
    'another range',
    (_, response) => {
      response.writeHead(206, { 'content-length': 1000, ...range(4000, 1000) }).end(BYTES);
    },
    { code: 'unexpected_answer' },
  ],
  [
    'another length',
    (_, response) => {
      response.writeHead(206, { 'content-length': 1001, ...range(5000, 1001) });
      response.end(BYTES.subarray(0, 1001));
    },
    { code: 'unexpected_answer' },
  ],
  [
    'all of the device',
    (_, response) => {
      response.writeHead(200, { 'content-length': SIZE }).end(BYTES);
    },
    { code: 'unexpected_answer' },
  ],
  [
    'no length',
    (_, response) => {
      response.writeHead(206, range(5000, 1000)).write(BYTES);
      response.end(BYTES);
    },
    { code: 'unexpected_answer' },
  ],
  [
    'an answer that is cut short',
    (_, response) => {
      response.writeHead(206, { 'content-length': 1000, ...range(5000, 1000) });
      response.write(BYTES.subarray(0, 500), () => response.destroy());
    },
    { code: 'unreachable' },
  ],
  [
    'a problem',
    (_, response) => {
      response.writeHead(416, { 'content-type': 'application/problem+json' });
      response.end('{"code":"range_not_satisfiable","detail":"no"}');
    },
    { code: 'range_not_satisfiable', status: 416, message: 'no' },
  ],
  [
    'a redirect',
    (_, response) => {
      response.writeHead(302, { location: '/elsewhere' }).end();
    },
    { code: 'unexpected_answer', status: 302 },
  ],
  [
    'an endless problem',
    (_, response) => {
      response.writeHead(404);
      const more = () => response.destroyed || response.write(Buffer.alloc(2 ** 18), more);
      more();
    },
    { code: 'unexpected_answer', status: 404 },
  ],
])('%s is an error', async (_, given, expected) => {
  answer = given;
  await expect(read(memory())).rejects.toMatchObject(expected);
});

test('after an abort the memory is left alone', async () => {
  let more = () => {};
  answer = (_, response) => {
    response.writeHead(206, { 'content-length': 1000, ...range(5000, 1000) });
    response.write(Buffer.alloc(500, 1));
    more = () => response.end(Buffer.alloc(500, 2));
  };
  const into = memory();
  const reading = read(into, () => stop.abort(new Error('enough')));
  await expect(reading).rejects.toThrow('enough');
  const then = Uint8Array.from(into);
  more();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(Uint8Array.from(into)).toEqual(then);
  await expect(read(into)).rejects.toThrow('enough');
});
