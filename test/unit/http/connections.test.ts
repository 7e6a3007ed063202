// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from '@jest/globals';
import { boundEachAddress } from '../../../services/http/server.ts';

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

test('the number of connections is limited for each address', async () => {
  const server = createServer((_request, response) => response.end('here'));
  boundEachAddress(server, 3);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  /** @returns what ends the connection, or undefined if it was closed unanswered */
  const open = async (localAddress: string) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    const closed = once(socket, 'close');
    socket.on('error', () => {});
    socket.write(REQUEST);
    const answer = await Promise.race([once(socket, 'data'), closed.then(() => undefined)]);
    if (answer === undefined) return undefined;
    return async () => {
      socket.destroy();
      await closed;
    };
  };
  const held = [await open('127.0.0.1'), await open('127.0.0.1'), await open('127.0.0.1')];
  expect(held).not.toContain(undefined);
  for (let i = 0; i < 3; i++) expect(await open('127.0.0.1')).toBeUndefined();
  const other = await open('127.0.0.2');
  expect(other).toBeDefined();

  // Those that were closed do not count, and one that ends makes room for one.
  await held[0]?.();
  let again: typeof other;
  while (again === undefined) again = await open('127.0.0.1');
  expect(await open('127.0.0.1')).toBeUndefined();
  for (const end of [held[1], held[2], other, again]) await end?.();
  server.close();
  await once(server, 'close');
});
