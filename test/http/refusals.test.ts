// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

test('a client that sends one wrong request after the other has the next refused unread', async () => {
  const wrong = (remoteAddress: string) => ({
    ...({ method: 'POST', url: '/transfers', remoteAddress } as const),
    headers: { 'content-type': 'application/json' },
    payload: ' '.repeat(2 ** 20),
  });
  const good = (remoteAddress: string) => ({ ...wrong(remoteAddress), payload: COPY });
  let last = await app.ask(wrong('127.0.0.1'));
  expectProblem(last, 400, 'invalid_request');
  while (last.status === 400) last = await app.ask(wrong('127.0.0.1'));
  expectProblem(last, 429, 'too_many_refusals');
  expect(last.headers['retry-after']).toBe('1');
  // Others are not meant, nor are probes.
  expect((await app.ask(good('127.0.0.2'))).status).toBe(201);
  for (const url of ['/livez', '/readyz', '/metrics']) {
    expect((await app.ask({ url })).status).toBe(200);
  }
  // The second ends it.
  await sleep(1000);
  expect((await app.ask(good('127.0.0.1'))).status).toBe(201);
});

test('bodies that are refused unread count for little', async () => {
  const headers = { 'content-type': 'application/json' };
  const tooLong = ' '.repeat(2 ** 20 + 1);
  const upload = { url: '/devices/dax0.0/content?offset=1GiB', payload: Buffer.alloc(2 ** 20) };
  for (let i = 0; i < 30; i++) {
    const url = '/transfers';
    const long = await app.ask({ method: 'POST', url, headers, payload: tooLong });
    expectProblem(long, 413, 'payload_too_large');
    expectProblem(await app.ask({ method: 'PUT', ...upload }), 422, 'out_of_range');
  }
});
