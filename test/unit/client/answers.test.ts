// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { DmadClient } from '../../../services/client/index.ts';
import { connect } from '../../../services/client/node.ts';

const clientOf = (fetch: () => Promise<Response>) =>
  new DmadClient({ url: 'http://dmad.test', fetch, retryForMs: 0 });

test.each(['.', '..', 'hosta/..', '../dax0.0'])(
  '%s is no name of a device or of anything',
  async (name) => {
    let requests = 0;
    const client = clientOf(async () => {
      requests++;
      return new Response('{}');
    });
    const calls = [
      client.getTransfer(name.split('/')[0] === '..' ? '..' : '.'),
      client.readContent(name),
      client.blockDigests(name).next(),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'invalid_request' });
    expect(requests).toBe(0);
  },
);

test.each<[string, object]>([
  ['a code of any length', { code: 'x'.repeat(100_000), detail: 'd' }],
  ['a code that is none', { code: '<b>', detail: 'd' }],
  ['a detail that is none', { code: 'not_found', detail: {} }],
])('%s is not a problem of dmad', async (_what, problem) => {
  const client = clientOf(
    async () =>
      new Response(JSON.stringify(problem), {
        status: 404,
        headers: { 'content-type': 'application/problem+json' },
      }),
  );
  const error = await client.listDevices().catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'unexpected_answer', status: 404 });
  expect(error.message.length).toBeLessThan(400);
});

test('a socket that nobody listens on is named as the caller named it', async () => {
  const url = 'unix:/nonexistent/dmad.sock';
  const client = connect({ url, retryForMs: 0 });
  const { code, message } = await client.listDevices().catch((thrown) => thrown);
  expect(code).toBe('unreachable');
  expect(message).toMatch(/^unix:\/nonexistent\/dmad\.sock: .*ENOENT/);
  await client.close();
});

test('so is one on which something else answers, or nothing in time', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-client-'));
  const path = join(directory, 'dmad.sock');
  const server = createServer((request, answer) => {
    if (request.url !== '/livez') answer.writeHead(500).end('no');
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  const url = `unix:${path}`;
  const client = connect({ url, retryForMs: 0 });
  const messageOf = async (call: Promise<unknown>) => {
    return ((await call.catch((thrown: unknown) => thrown)) as Error).message;
  };
  const { signal } = new AbortController();
  const read = { offset: 0, size: 1, memory: new Uint8Array(1), signal, onBytes: () => {} };
  expect(await messageOf(client.isLive({ deadlineMs: 50 }))).toContain(`${url} did not answer`);
  expect(await messageOf(client.getVersion())).toContain(`${url}/version answered 500`);
  expect(await messageOf(client.readInto('dax0.0', read))).toContain(
    `${url}/devices/dax0.0/content answered 500`,
  );
  await client.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});
