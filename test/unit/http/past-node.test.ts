// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, test } from '@jest/globals';
import { BodyPastNode } from '../../../services/http/past-node.ts';

test('once a parser has failed to skip a body, Node reads all others', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = await accepted;
  socket.on('error', () => {});
  const parser = { constructor: { kOnBody: 1 }, execute: () => new Error('it refuses') };
  const request = { socket: Object.assign(socket, { parser }) } as unknown as IncomingMessage;
  const bodyOf = () => BodyPastNode.of(request, 10, 1);

  const body = bodyOf();
  expect(bodyOf()).toBeDefined();
  expect(() => body?.skip(5)).toThrow('it refuses');
  expect(socket.destroyed).toBe(true);

  const next = once(server, 'connection') as Promise<[Socket]>;
  const other = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [open] = await next;
  const second = { socket: Object.assign(open, { parser }) } as unknown as IncomingMessage;
  expect(BodyPastNode.of(second, 10, 1)).toBeUndefined();
  client.destroy();
  other.destroy();
  open.destroy();
  server.close();
});
