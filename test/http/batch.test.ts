// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const MINIMAL = { prefer: 'return=minimal' };

let directory: string;
let app: TestApp;
let guarded: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'few', limits: { transfers_in_flight: 3 } },
    { name: 'part', devices: [{ name: 'dax0.0', access: 'rw' }] },
    { name: 'reader', scopes: ['transfers:read'] as const },
  ];
  app = await startTestApp();
  guarded = await startTestApp({
    environment: { DMAD_TOKENS_FILE: writeTokens(directory, tokens) },
  });
});
afterAll(async () => {
  await Promise.all([app.close(0), guarded.close(0)]);
  rmSync(directory, { recursive: true, force: true });
});

type Item = Record<string, unknown>;
const fill = (dst_offset: number, pattern: string, members: Item = {}): Item => ({
  ...{ operation: 'fill', device_name: 'dax0.0', dst_offset, size: 512, pattern },
  ...members,
});
const send = (transfers: unknown, headers = {}, to = app) =>
  to.ask({ method: 'POST', url: '/transfers/batch', payload: { transfers } as object, headers });
const json = ({ body }: { body: Buffer }) => JSON.parse(body.toString());
const waitFor = async (id: string) =>
  (await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=10' } })).json();
const count = async (label: string) =>
  (await app.inject({ url: `/transfers?label=${label}&page_size=1000` })).json().transfers.length;

describe('POST /transfers/batch', () => {
  test('accepts all, in order, and behind one another as they say', async () => {
    const blocker = await app.block('dax0.0');
    const answer = await send([
      fill(0, '01'),
      { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0, size: 512 },
      { ...fill(4096, '02', { depends_on: ['#0', '#1', '#0'], priority: 'high' }) },
      fill(0, '03'),
    ]);
    expect(answer.status).toBe(202);
    expect(answer.headers['retry-after']).toBe('1');
    const { transfers } = json(answer);
    const ids = transfers.map(({ id }: Item) => id);
    expect(transfers[2]).toMatchObject({ depends_on: [ids[0], ids[1]], priority: 'high' });
    expect([...ids].sort()).toEqual(ids);
    await blocker.release();
    for (const id of ids) expect(await waitFor(id)).toMatchObject({ status: 'succeeded' });
    const bytes = async (device: string) =>
      (await app.ask({ url: `/devices/${device}/content`, headers: { range: 'bytes=0-511' } }))
        .body;
    expect(await bytes('dax0.0')).toEqual(Buffer.alloc(512, 3));
    expect(await bytes('dax1.0')).toEqual(Buffer.alloc(512, 1));
  });

  test('with return=minimal answers ids', async () => {
    const answer = await send([fill(0, '01'), fill(0, '02')], MINIMAL);
    expect(answer.headers['preference-applied']).toBe('return=minimal');
    const { transfers } = json(answer);
    for (const id of transfers) expect(await waitFor(id)).toMatchObject({ status: 'succeeded' });
  });

  test('a thousand, of which the last waits for a hundred', async () => {
    const labels = { many: 'yes' };
    const all = Array.from({ length: 999 }, (_, index) => fill(index * 512, '07', { labels }));
    const depends_on = Array.from({ length: 100 }, (_, index) => `#${index * 9}`);
    const answer = await send([...all, fill(999 * 512, '07', { labels, depends_on })], MINIMAL);
    const { transfers } = json(answer);
    expect(transfers).toHaveLength(1000);
    expect(await waitFor(transfers[999])).toMatchObject({ status: 'succeeded' });
    expect(await count('many:yes')).toBe(1000);
  });

  test('one that fails takes those along that depend on it, and no others', async () => {
    const blocker = await app.block('dax0.0');
    const { transfers } = json(
      await send([
        fill(0, '01', { timeout_ms: 1 }),
        fill(4096, '01', { depends_on: ['#0'] }),
        fill(8192, '01', { depends_on: ['#1'] }),
        fill(0, '02'),
      ]),
    );
    const [first, second, third] = await Promise.all(
      transfers.slice(0, 3).map(({ id }: Item) => waitFor(id as string)),
    );
    expect(first.error.code).toBe('timeout');
    expect([second.error.code, third.error.code]).toEqual(Array(2).fill('dependency_failed'));
    await blocker.release();
    expect(await waitFor(transfers[3].id)).toMatchObject({ status: 'succeeded' });
  });

  test('sent again, gives those with keys again and makes the others anew', async () => {
    const batch = [
      fill(0, '01', { idempotency_key: 'batch 1' }),
      fill(0, '02', { idempotency_key: '"batch 2"', depends_on: ['#0'] }),
    ];
    const first = await send(batch, MINIMAL);
    const again = await send(batch, MINIMAL);
    expect(first.headers['idempotency-replayed']).toBeUndefined();
    expect(again).toMatchObject({ status: 202, headers: { 'idempotency-replayed': 'true' } });
    expect(json(again)).toEqual(json(first));
    const mixed = await send([...batch, fill(0, '03', { labels: { mixed: 'yes' } })], MINIMAL);
    expect(mixed.headers['idempotency-replayed']).toBeUndefined();
    expect(json(mixed).transfers.slice(0, 2)).toEqual(json(first).transfers);
    // A key is one, whichever way it comes.
    const { depends_on, idempotency_key, ...plain } = batch[0] as Item;
    const single = await app.post(plain, { 'idempotency-key': 'batch 1' });
    expect(single.json().id).toBe(json(first).transfers[0]);
    // Twice in one batch: one transfer.
    const twice = fill(0, '04', { idempotency_key: 'twice' });
    const { transfers } = json(await send([twice, twice], MINIMAL));
    expect(transfers[0]).toBe(transfers[1]);
  });

  test('as a dry run of all: their plans', async () => {
    const dry = { dry_run: true, labels: { dry: 'yes' } };
    const answer = await send([fill(0, '01', dry), fill(0, '02', { ...dry, depends_on: ['#0'] })]);
    expect(answer.status).toBe(200);
    expect(json(answer).transfers).toMatchObject([
      { dry_run: true },
      { dry_run: true, bytes: 512 },
    ]);
    expect(await count('dry:yes')).toBe(0);
    const unknown = await send([fill(0, '01', dry), fill(0, '02', { ...dry, depends_on: ['#1'] })]);
    expectProblem(unknown, 422, 'unknown_transfer');
    const some = expectProblem(
      await send([fill(0, '01', dry), fill(0, '02')]),
      400,
      'invalid_request',
    );
    expect(some.errors?.[0]?.pointer).toBe('/transfers/1/dry_run');
  });
});

describe('none of a batch is accepted', () => {
  const good = fill(0, '01', { labels: { none: 'yes' }, idempotency_key: 'none' });
  test.each<[string, unknown, number, string, string | undefined]>([
    ['no list', undefined, 400, 'invalid_request', '/transfers'],
    ['an empty one', [], 400, 'invalid_request', '/transfers'],
    ['1001', Array(1001).fill(good), 400, 'invalid_request', '/transfers'],
    ['no transfer', [good, 7], 400, 'invalid_request', '/transfers/1'],
    ['a wrong field', [good, fill(0, 'x')], 400, 'invalid_request', '/transfers/1/pattern'],
    ['one too many', [good, { ...good, more: 1 }], 400, 'invalid_request', '/transfers/1/more'],
    [
      'a wrong segment',
      [good, { operation: 'fill', device_name: 'dax0.0', segments: [{ dst_offset: 0, size: 0 }] }],
      400,
      'invalid_request',
      '/transfers/1/segments/0/size',
    ],
    [
      'a bad key',
      [{ ...good, idempotency_key: '' }],
      400,
      'invalid_request',
      '/transfers/0/idempotency_key',
    ],
    [
      'a device',
      [good, fill(0, '01', { device_name: 'dax7.0' })],
      422,
      'unknown_device',
      '/transfers/1/device_name',
    ],
    ['a range', [good, fill(2 ** 40, '01')], 422, 'out_of_range', '/transfers/1/dst_offset'],
    [
      'an engine',
      [good, fill(0, '01', { engine: 'dma' })],
      422,
      'engine_unavailable',
      '/transfers/1/engine',
    ],
    [
      'itself',
      [good, fill(0, '01', { depends_on: ['#1'] })],
      422,
      'unknown_transfer',
      '/transfers/1/depends_on/0',
    ],
    [
      'a later one',
      [fill(0, '01', { depends_on: ['#1'] }), good],
      422,
      'unknown_transfer',
      '/transfers/0/depends_on/0',
    ],
    [
      'none',
      [good, fill(0, '01', { depends_on: ['#0', 'x'] })],
      422,
      'unknown_transfer',
      '/transfers/1/depends_on/1',
    ],
    [
      'a key with another meaning',
      [good, { ...good, pattern: '02' }],
      422,
      'idempotency_key_reused',
      '/transfers/1/idempotency_key',
    ],
  ])('for %s', async (_what, transfers, status, code, pointer) => {
    const problem = expectProblem(await send(transfers), status, code);
    expect(problem.errors?.[0]?.pointer).toBe(pointer);
    expect(await count('none:yes')).toBe(0);
  });

  test('for a key in the header, for a body that is too large, or of another type', async () => {
    expectProblem(await send([good], { 'idempotency-key': 'x' }), 400, 'invalid_request');
    const large = Array(1000).fill(
      fill(0, '01', {
        labels: { a: 'x'.repeat(255), b: 'y'.repeat(255), c: 'z'.repeat(255), d: 'z'.repeat(255) },
      }),
    );
    expectProblem(await send(large), 413, 'payload_too_large');
    const text = { method: 'POST', url: '/transfers/batch', payload: '{}' } as const;
    const headers = { 'content-type': 'text/plain' };
    expectProblem(await app.ask({ ...text, headers }), 415, 'unsupported_media_type');
    expect(await count('none:yes')).toBe(0);
    // Its key is free.
    expect((await send([good])).status).toBe(202);
  });

  test('for what the client may not touch, may not have, or may not do', async () => {
    const elsewhere = { ...fill(0, '01'), device_name: 'dax1.0' };
    const denied = await send([fill(0, '01'), elsewhere], bearer('part'), guarded);
    const problem = expectProblem(denied, 403, 'forbidden');
    expect(problem.errors?.[0]?.pointer).toBe('/transfers/1/dst_offset');
    expectProblem(await send([fill(0, '01')], bearer('reader'), guarded), 403, 'forbidden');
    expectProblem(await send([fill(0, '01')], {}, guarded), 401, 'unauthenticated');
    const four = Array.from({ length: 4 }, (_, n) => fill(n * 512, '01'));
    expectProblem(await send(four, bearer('few'), guarded), 429, 'queue_full');
    expect((await send(four.slice(0, 3), bearer('few'), guarded)).status).toBe(202);
  });
});
