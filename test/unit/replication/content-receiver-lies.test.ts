// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Engine } from '../../../services/daemon/engines/engine.ts';
import { ContentReceiver } from '../../../services/daemon/replication/content-receiver.ts';
import { runs } from '../../support/depth.ts';
import { noise } from '../../support/random.ts';

const MAX_SIZE = 300_000;
const content = noise(MAX_SIZE);

/** How a peer answers one request. */
interface Answer {
  size: number;
  status: string;
  early: string;
  more: string;
  /** Bytes that it sends fewer than it should, or more of. */
  missing: number;
  surplus: string;
  /** Where the bytes of the answer are split, as parts of it. */
  cuts: number[];
  end: 'stays' | 'fin' | 'reset';
  /** What the client does, so many milliseconds after it has asked. */
  client: 'waits' | 'aborts' | 'closes';
  afterMs: number;
}

const answers: fc.Arbitrary<Answer> = fc.record({
  size: fc.integer({ min: 1, max: MAX_SIZE }),
  status: fc.constantFrom('HTTP/1.1 206 Partial', 'HTTP/1.1 200 OK', 'HTTP/1.0 200 OK'),
  early: fc.constantFrom(
    '',
    'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
  ),
  more: fc.constantFrom('', '', 'connection: close\r\n', 'keep-alive: timeout=1\r\n'),
  missing: fc.oneof(
    fc.constant(0),
    fc.constant(0),
    fc.constant(0),
    fc.integer({ min: 1, max: 1000 }),
  ),
  surplus: fc.constantFrom('', '', '', 'x', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc'),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
  end: fc.constantFrom('stays', 'fin', 'reset'),
  client: fc.constantFrom('waits', 'waits', 'aborts', 'closes'),
  afterMs: fc.integer({ min: 0, max: 8 }),
});

let engine: Engine;
let server: Server;
let next: Answer;
const sockets = new Set<Socket>();

beforeAll(async () => {
  engine = new Engine();
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      if (bytes.includes('\r\n\r\n')) void reply(socket, next);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
  engine.close();
});

async function reply(socket: Socket, answer: Answer): Promise<void> {
  const { size, status, early, more, missing, surplus, cuts, end } = answer;
  const head = `${early}${status}\r\ncontent-length: ${size}\r\n${more}\r\n`;
  const body = content.subarray(0, Math.max(0, size - missing));
  const bytes = Buffer.concat([Buffer.from(head), body, Buffer.from(surplus)]);
  const ends = [...cuts.map((part) => Math.floor(part * bytes.length)), bytes.length];
  let at = 0;
  for (const to of ends.sort((a, b) => a - b)) {
    socket.write(bytes.subarray(at, to));
    at = to;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  if (end === 'fin' || missing > 0) socket.end();
  if (end === 'reset') socket.resetAndDestroy();
}

test('whatever a peer sends, and the client does meanwhile, counts only what has arrived', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let receiver = new ContentReceiver({ url }, engine, 1);
  const check = fc.asyncProperty(answers, async (answer) => {
    next = answer;
    const { size, client, afterMs } = answer;
    const memory = Buffer.from(new SharedArrayBuffer(size));
    const stop = new AbortController();
    let counted = 0;
    const timer = setTimeout(() => {
      if (client === 'aborts') stop.abort(new Error('enough'));
      if (client === 'closes') {
        receiver.close();
        receiver = new ContentReceiver({ url }, engine, 1);
      }
    }, afterMs);
    const options = { offset: 0, size, memory, signal: stop.signal };
    const onBytes = (count: number) => {
      counted += count;
    };
    let late: NodeJS.Timeout | undefined;
    const hangs = new Promise<string>((resolve) => {
      late = setTimeout(() => resolve('hangs'), 5000);
    });
    const reading = receiver.read('dax0.0', { ...options, onBytes }).then(
      () => 'whole',
      (error) => `${error.name} ${error.message}`,
    );
    const outcome = await Promise.race([reading, hangs]);
    clearTimeout(late);
    clearTimeout(timer);
    const then = Buffer.from(memory);
    await new Promise((resolve) => setTimeout(resolve, 2));
    expect(outcome).not.toBe('hangs');
    expect(memory.equals(then)).toBe(true);
    expect(counted).toBeLessThanOrEqual(size);
    if (outcome === 'whole') expect(counted).toBe(size);
    if (outcome !== 'whole') expect(outcome).toMatch(/^(DmadError|Error enough)/);
    // A second answer that nobody asked for is the peer's content as much as the first.
    if (answer.surplus === '')
      expect(memory.subarray(0, counted).equals(content.subarray(0, counted))).toBe(true);
  });
  await fc.assert(check, { numRuns: runs(3000), endOnFailure: true });
  receiver.close();
}, 300_000);
