// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { constants } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from '@jest/globals';
import { failedCompletion } from '../../../services/daemon/engines/completions.ts';
import { Engine } from '../../../services/daemon/engines/engine.ts';
import { ContentReceiver } from '../../../services/daemon/replication/content-receiver.ts';
import { noise } from '../../support/random.ts';

const SIZE = 3 * 2 ** 20 + 77;
const content = noise(SIZE);

let engine: Engine;
let server: Server;
let answer: RequestListener;
let connections: number;
let receiver: ContentReceiver;
let memory: Buffer;
/** How many bytes were said to have arrived. */
let counted: number;

beforeAll(() => {
  engine = new Engine();
});
afterAll(() => engine.close());
beforeEach(async () => {
  connections = 0;
  counted = 0;
  memory = Buffer.from(new SharedArrayBuffer(SIZE));
  server = createServer((request, response) => answer(request, response));
  server.on('connection', () => connections++).listen(0, '127.0.0.1');
  await once(server, 'listening');
  receiver = new ContentReceiver({ url: urlOf(server) }, engine, 1);
});
afterEach(() => {
  receiver.close();
  server.closeAllConnections();
  server.close();
});

const urlOf = (of: { address(): unknown }) =>
  `http://127.0.0.1:${(of.address() as AddressInfo).port}`;

const read = (more: { signal?: AbortSignal; from?: ContentReceiver } = {}) => {
  const { signal = new AbortController().signal, from = receiver } = more;
  const onBytes = (count: number) => {
    counted += count;
  };
  return from.read('dax0.0', { offset: 0, size: SIZE, memory, signal, onBytes });
};

const head = (size = SIZE) => ({
  'content-length': size,
  'content-range': `bytes 0-${size - 1}/${size}`,
});

/** Sends so many bytes of the content, and then nothing. */
const sends =
  (size: number): RequestListener =>
  (_request, response) => {
    response.writeHead(206, head());
    response.write(content.subarray(0, size));
  };

/** Until so many bytes were counted. */
async function arrived(size: number): Promise<void> {
  while (counted < size) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('one connection serves many requests, whatever their answers', async () => {
  answer = (_request, response) => response.writeHead(206, head()).end(content);
  for (let round = 0; round < 5; round++) {
    memory.fill(0);
    await read();
    expect(memory.equals(content)).toBe(true);
  }
  expect(counted).toBe(5 * SIZE);
  expect(connections).toBe(1);
  answer = (_request, response) => {
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '3' });
    response.end('{"code":"queue_full","detail":"later"}');
  };
  await expect(read()).rejects.toMatchObject({ code: 'queue_full', retryAfterMs: 3000 });
});

test('what comes before a cut stays', async () => {
  answer = (request, response) => {
    sends(SIZE - 1)(request, response);
    setTimeout(() => request.socket.destroy(), 100);
  };
  await expect(read()).rejects.toMatchObject({ code: 'unreachable' });
  expect(counted).toBeGreaterThan(0);
  expect(memory.subarray(0, counted).equals(content.subarray(0, counted))).toBe(true);
});

test('memory is not touched once a call was aborted', async () => {
  let socket: Socket | undefined;
  answer = (request, response) => {
    socket = request.socket;
    sends(SIZE / 2)(request, response);
  };
  const stop = new AbortController();
  const reading = read({ signal: stop.signal });
  const refused = expect(reading).rejects.toThrow('enough');
  await arrived(1000);
  stop.abort(new Error('enough'));
  await refused;
  memory.fill(0x5a);
  socket?.write(content.subarray(SIZE / 2));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(memory.every((byte) => byte === 0x5a)).toBe(true);
  await expect(read({ signal: stop.signal })).rejects.toThrow('enough');
});

test('an abort before the answer ends the call', async () => {
  answer = () => {};
  const stop = new AbortController();
  const refused = expect(read({ signal: stop.signal })).rejects.toThrow('enough');
  setTimeout(() => stop.abort(new Error('enough')), 50);
  await refused;
});

test('what has all arrived counts, though the connection was closed meanwhile', async () => {
  answer = (_request, response) => response.writeHead(206, head()).end(content);
  const runUntil = engine.runUntil.bind(engine);
  const closes = jest.spyOn(engine, 'runUntil').mockImplementation(async (...how) => {
    const completion = await runUntil(...how);
    receiver.close();
    // Until Node has told all that hear of it.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return completion;
  });
  await read();
  closes.mockRestore();
  expect(memory.equals(content)).toBe(true);
  expect(counted).toBe(SIZE);
});

test('what the shim has no room for is left to Node', async () => {
  answer = (_request, response) => response.writeHead(206, head()).end(content);
  const refuses = jest
    .spyOn(engine, 'runUntil')
    .mockImplementation(async () => failedCompletion(1, -constants.errno.EMFILE));
  await read();
  expect(counted).toBeLessThan(SIZE);
  refuses.mockRestore();
  counted = 0;
  await read();
  expect(counted).toBe(SIZE);
});

test('an answer that is all there with its header needs no shim', async () => {
  answer = (_request, response) => response.writeHead(206, head(10)).end(content.subarray(0, 10));
  const runs = jest.spyOn(engine, 'runUntil');
  const { signal } = new AbortController();
  const onBytes = (count: number) => {
    counted += count;
  };
  await receiver.read('dax0.0', { offset: 0, size: 10, memory, signal, onBytes });
  expect(counted).toBe(10);
  expect(runs).not.toHaveBeenCalled();
  runs.mockRestore();
});

/** Answers that no HTTP server of Node's would give. */
const raw: [string, string][] = [
  [
    'its length in two ways',
    `HTTP/1.1 206 OK\r\ncontent-length: ${SIZE}\r\ntransfer-encoding: chunked\r\ncontent-range: bytes 0-${SIZE - 1}/${SIZE}\r\n\r\n4\r\nabcd\r\n`,
  ],
  [
    'two lengths',
    `HTTP/1.1 206 OK\r\ncontent-length: ${SIZE}\r\ncontent-length: 5\r\ncontent-range: bytes 0-${SIZE - 1}/${SIZE}\r\n\r\nabcdefg`,
  ],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['another protocol', 'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
  ['nothing', ''],
];

test.each(raw)('a peer that sends %s fails the call, and no byte counts', async (_what, text) => {
  const strange = createTcpServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.end(text));
  }).listen(0, '127.0.0.1');
  await once(strange, 'listening');
  const from = new ContentReceiver({ url: urlOf(strange) }, engine, 1);
  await expect(read({ from })).rejects.toMatchObject({ name: 'DmadError' });
  expect(counted).toBe(0);
  from.close();
  strange.close();
});

test('nobody listens', async () => {
  const closed = createTcpServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const from = new ContentReceiver({ url: urlOf(closed) }, engine, 1);
  closed.close();
  await once(closed, 'close');
  await expect(read({ from })).rejects.toMatchObject({ code: 'unreachable' });
  from.close();
});
