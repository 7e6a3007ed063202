// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { SCOPES } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const ASYNC = { prefer: 'respond-async' };
const DEVICES = [
  { name: '/dev/dax0.0', ranges: [{ offset: 0, size: '64KiB' }], access: 'rw' },
  { name: 'dax1.0', resource: '0x1000', access: 'ro' },
];

let directory: string;
let app: TestApp;
let open: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'anna', scopes: ['content:read'] as const, devices: DEVICES },
    { name: 'limited', limits: { transfers_in_flight: 2, bytes_per_second: '1MiB' } },
    { name: 'slow', limits: { bytes_per_second: 1000 } },
    { name: 'bert' },
  ];
  app = await startTestApp({ environment: { DMAD_TOKENS_FILE: writeTokens(directory, tokens) } });
  open = await startTestApp();
});
afterAll(async () => {
  await app.close();
  await open.close();
  rmSync(directory, { recursive: true, force: true });
});

const whoami = async (name: string) =>
  (await app.inject({ url: '/whoami', headers: bearer(name) })).json();

test('a token: its name, scopes, devices and limits', async () => {
  expect(await whoami('anna')).toEqual({
    ...{ name: 'anna', scopes: ['content:read'] },
    devices: [
      {
        ...{ name: 'dax0.0', uuid: null, resource: null, access: 'rw' },
        ranges: [{ offset: 0, size: 65_536 }],
      },
      { name: 'dax1.0', uuid: null, resource: 4096, access: 'ro', ranges: null },
    ],
    peers: null,
    limits: { transfers_in_flight: null, bytes_per_second: null },
    use: { transfers_in_flight: 0, bytes_queued: 0, bytes_available: null },
  });
  expectProblem(await app.ask({ url: '/whoami' }), 401, 'unauthenticated');
});

test('without tokens: everybody is anonymous, and may do everything', async () => {
  const answer = await open.ask({ url: '/whoami' });
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(JSON.parse(answer.body.toString())).toMatchObject({
    ...{ name: 'anonymous', scopes: SCOPES, devices: null, peers: null },
    limits: { transfers_in_flight: null, bytes_per_second: null },
  });
});

test('what it has taken of its limits, here and in RateLimit', async () => {
  const blocker = await app.block('dax0.0', 0, bearer('bert'));
  const fields = { ...bearer('limited'), ...ASYNC };
  const first = await app.post(COPY, fields);
  expect(first.headers['ratelimit-policy']).toBe(
    '"transfers";q=2;qu="concurrent-requests", "bytes";q=1048576;qu="content-bytes";w=1',
  );
  expect(first.headers.ratelimit).toMatch(/^"transfers";r=1, "bytes";r=[0-9]+$/);
  expect(await whoami('limited')).toMatchObject({
    limits: { transfers_in_flight: 2, bytes_per_second: 2 ** 20 },
    use: { transfers_in_flight: 1, bytes_queued: 4096 },
  });
  const second = await app.post(COPY, fields);
  expect(second.headers.ratelimit).toMatch(/^"transfers";r=0,/);
  const refused = await app.post(COPY, fields);
  expect(refused.statusCode).toBe(429);
  expect(refused.headers.ratelimit).toMatch(/^"transfers";r=0,/);
  await blocker.release();
  await app.inject({
    url: `/transfers/${second.json().id}`,
    headers: { ...bearer('limited'), prefer: 'wait=10' },
  });
  expect(await whoami('limited')).toMatchObject({ use: { transfers_in_flight: 0 } });
});

test('content has the limit of bytes, and says when what was moved is paid for', async () => {
  const headers = { ...bearer('slow'), range: 'bytes=0-1999' };
  const get = () => app.inject({ url: '/devices/dax0.0/content', headers });
  const reading = get();
  // Its bytes are there at once, and its end once they are paid for.
  await sleep(200);
  expect((await whoami('slow')).use.bytes_available).toBe(0);
  const next = get();
  const read = await reading;
  expect(read.headers['ratelimit-policy']).toBe('"bytes";q=1000;qu="content-bytes";w=1');
  expect(read.headers.ratelimit).toMatch(/^"bytes";r=(50|4[0-9])$/);
  expect((await next).headers.ratelimit).toMatch(/^"bytes";r=0;t=[12]$/);
}, 20_000);

test('no RateLimit where nothing is limited, or nothing is taken', async () => {
  for (const answer of [
    await app.post(COPY, bearer('bert')),
    await app.inject({ url: '/transfers', headers: bearer('limited') }),
    await app.inject({ url: '/whoami', headers: bearer('limited') }),
    await open.post(COPY),
  ]) {
    expect(answer.statusCode).toBeLessThan(300);
    expect(answer.headers.ratelimit).toBeUndefined();
  }
});
