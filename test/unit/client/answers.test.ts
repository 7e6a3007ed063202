// SPDX-License-Identifier: Apache-2.0
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
