// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type ConnectOptions, connect } from '../../../services/client/node.ts';

let body: string;
let server: Server;
beforeEach(async () => {
  server = createServer((_request, answer) => {
    answer.writeHead(body.length > 100 ? 500 : 200, { 'content-type': 'application/json' });
    answer.end(body);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
});
afterEach(() => {
  server.close();
});

async function ask(options: Partial<ConnectOptions>): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const client = connect({ url: `http://127.0.0.1:${port}`, retryForMs: 0, ...options });
  await client.getVersion();
}

/** What nobody catches fails the test, as it would end the process. */
const uncaught = () => sleep(50);

test('an answer that must not be used may be there in whole already', async () => {
  body = '{}';
  const onAnswer = () => {
    throw new Error('not this one');
  };
  for (let n = 0; n < 3; n++) await expect(ask({ onAnswer })).rejects.toThrow('not this one');
  await uncaught();
});

test('of an error a part is read, however much there is', async () => {
  for (const size of [2 ** 20 + 1, 2 ** 20 + 65_536, 2 ** 22]) {
    body = 'x'.repeat(size);
    await expect(ask({})).rejects.toMatchObject({ code: 'unexpected_answer', status: 500 });
    await uncaught();
  }
});
