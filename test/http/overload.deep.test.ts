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

const waitingFor = async () => (await app.inject({ url: '/readyz' })).json().waiting_for;

/** Keeps the event loop from turning. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('while the event loop lags new work is refused, and taken again once it does not', async () => {
  const headers = { 'idempotency-key': 'before' };
  expect((await app.post(COPY, headers)).statusCode).toBe(201);
  while (!(await waitingFor()).includes('event_loop')) {
    block(600);
    await sleep(1);
  }
  const upload = { method: 'PUT', url: '/devices/dax0.0/content', payload: 'x' } as const;
  const transfer = { method: 'POST', url: '/transfers', payload: COPY } as const;
  for (const refused of await Promise.all([app.ask(transfer), app.ask(upload)])) {
    expectProblem(refused, 503, 'overloaded');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  }
  // What makes nothing new is answered.
  expect((await app.post(COPY, headers)).statusCode).toBe(200);
  expect((await app.inject({ url: '/transfers' })).statusCode).toBe(200);
  while ((await waitingFor()).length > 0) await sleep(100);
  expect((await app.post(COPY)).statusCode).toBe(201);
  expect((await app.ask(upload)).status).toBe(200);
}, 60_000);
