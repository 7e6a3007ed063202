// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { request, Wire } from '../support/wire.ts';

let app: TestApp;
let port: number;
beforeAll(async () => {
  app = await startTestApp();
  port = await app.listen();
});
afterAll(() => app.close());

test('a silent stream has a comment every 15 s', async () => {
  const wire = new Wire(port).send(request('GET /events'));
  await wire.sees('nothing more');
  const since = performance.now();
  await wire.sees(': still here\n\n');
  expect(performance.now() - since).toBeLessThan(17_000);
  wire.end();
}, 30_000);
