// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { AnswerPastNode } from '../../../services/http/answer-past-node.ts';

const SIZE = 2 ** 20;
let server: Server;

beforeAll(async () => {
  server = createServer((_request, response) => response.end(Buffer.alloc(SIZE, 1)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function ask(): Promise<[IncomingMessage, AnswerPastNode | undefined]> {
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1' }, (answer) => {
      answer.on('error', () => {});
      resolve([answer, AnswerPastNode.of(answer)]);
    });
    sent.on('error', reject).end();
  });
}

async function sizeOf(answer: IncomingMessage): Promise<number> {
  let size = 0;
  for await (const chunk of answer) size += (chunk as Buffer).length;
  return size;
}

test('Node reads nothing until it is released, and all of it then', async () => {
  const [answer, body] = await ask();
  const { bytesRead } = answer.socket;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(answer.socket.bytesRead).toBe(bytesRead);
  body?.release();
  expect(await sizeOf(answer)).toBe(SIZE);
});

test('if Node reads some itself, the answer fails, and Node reads all others', async () => {
  const [answer, body] = await ask();
  Object.defineProperty(answer.socket, 'bytesRead', { value: answer.socket.bytesRead + 1 });
  expect(() => body?.skip(10)).toThrow('told to leave alone');
  expect(answer.socket.destroyed).toBe(true);
  expect(AnswerPastNode.usable).toBe(false);
  const [next, past] = await ask();
  expect(past).toBeUndefined();
  expect(await sizeOf(next)).toBe(SIZE);
});
