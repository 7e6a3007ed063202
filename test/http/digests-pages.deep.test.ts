// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';

const KIB = 2 ** 10;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: 'emulated:dax8.0=1GiB' },
    parentDir: MEMORY_DIR,
  });
});
afterAll(() => app.close());

test('digests by pages', async () => {
  const zeros = createHash('sha256')
    .update(Buffer.alloc(4 * KIB))
    .digest('hex');
  const url = '/devices/dax8.0/digests?offset=4096&block_size=4KiB';
  const first = JSON.parse((await app.ask({ url })).body.toString());
  expect(first.digests).toHaveLength(65_536);
  expect(new Set(first.digests)).toEqual(new Set([zeros]));
  let count = 0;
  for (let token = first.next_page_token; token !== ''; ) {
    const next = await app.ask({ url: `${url}&page_token=${token}` });
    expect(next.status).toBe(200);
    const page = JSON.parse(next.body.toString());
    expect(page).toMatchObject({ offset: 4096, size: 2 ** 30 - 4096, block_size: 4 * KIB });
    count += page.digests.length;
    token = page.next_page_token;
  }
  expect(65_536 + count).toBe(2 ** 30 / 4096 - 1);
  for (const wrong of [
    `/devices/dax8.0/digests?offset=0&block_size=4KiB&page_token=${first.next_page_token}`,
    `/devices/dax8.0/digests?offset=4096&block_size=8KiB&page_token=${first.next_page_token}`,
    `${url}&page_token=x`,
    `${url}&page_token=${Buffer.from(`5 4096 ${2 ** 30 - 4096} 4096`).toString('base64url')}`,
  ]) {
    const problem = expectProblem(await app.ask({ url: wrong }), 400, 'invalid_request');
    expect(problem.errors).toMatchObject([{ pointer: '/page_token' }]);
  }
}, 120_000);
