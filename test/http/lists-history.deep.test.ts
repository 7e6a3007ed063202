// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 16, size: 16 };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const make = async (headers: Record<string, string> = {}) =>
  (await app.post({ ...COPY, durability: 'none' }, headers)).json().id as string;

test('the latest 10,000 at least stay, those with a key too, and memory is bounded', async () => {
  const keyed = await make({ 'idempotency-key': 'kept' });
  const first = await make();
  for (let i = 0; i < 10_200; i += 200) {
    await Promise.all(
      Array.from({ length: 200 }, () =>
        app.http.inject({
          ...{ method: 'POST', url: '/transfers' },
          payload: { ...COPY, durability: 'none', src_offset: 100, dst_offset: 200 },
        }),
      ),
    );
  }
  expect((await app.ask({ url: `/transfers/${keyed}` })).status).toBe(200);
  expectProblem(await app.ask({ url: `/transfers/${first}` }), 404, 'not_found');
  const replay = await app.post({ ...COPY, durability: 'none' }, { 'idempotency-key': 'kept' });
  expect(replay.json().id).toBe(keyed);
  const list = await app.inject({ url: '/transfers?page_size=1001' });
  expect(list.json().transfers).toHaveLength(1000);
}, 240_000);
