// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import supertest from 'supertest';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { crc32cText } from '../support/crc32c.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const SIZE = 32 * MIB;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ASYNC = { prefer: 'respond-async' };
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}` },
    parentDir: MEMORY_DIR,
  });
});
afterAll(() => app.close());

const get = async (id: string, headers: Record<string, string> = {}) =>
  (await app.inject({ url: `/transfers/${id}`, headers })).json();
const cancel = (id: string) => app.ask({ method: 'POST', url: `/transfers/${id}/cancel` });
const put = async (device: string, offset: number, payload: Buffer) => {
  const url = `/devices/${device}/content?offset=${offset}`;
  expect((await app.inject({ method: 'PUT', url, payload })).statusCode).toBe(200);
};
const read = async (device: string, offset: number, size: number) => {
  const range = `bytes=${offset}-${offset + size - 1}`;
  return (await app.ask({ url: `/devices/${device}/content`, headers: { range } })).body;
};

describe('a transfer that ends while its client waits', () => {
  test('201, where it is, and all about it', async () => {
    const bytes = Buffer.from('what is to be copied');
    await put('dax0.0', 100, bytes);
    const before = Date.now();
    const response = await supertest(app.http.server).post('/transfers').send({
      device_name: '/dev/dax0.0',
      dst_device_name: 'dax1.0',
      src_offset: 100,
      dst_offset: '4KiB',
      size: bytes.length,
      verify: 'crc32c',
    });
    expect(response.status).toBe(201);
    const transfer = response.body;
    expect(response.headers.location).toBe(`/transfers/${transfer.id}`);
    expect(response.headers['content-type']).toMatch(/^application\/json/);
    expect(response.headers).not.toHaveProperty('preference-applied');
    expect(response.headers).not.toHaveProperty('retry-after');
    expect(transfer).toMatchObject({
      id: expect.stringMatching(UUID_V7),
      status: 'succeeded',
      device_name: 'dax0.0',
      dst_device_name: 'dax1.0',
      src_offset: 100,
      dst_offset: 4096,
      size: bytes.length,
      segments: null,
      engine: 'cpu',
      channels: [],
      bytes_completed: bytes.length,
      progress: 1,
      durability: { requested: 'flush' },
      verification: {
        method: 'crc32c',
        segments: 1,
        src: crc32cText(bytes),
        dst: crc32cText(bytes),
      },
      labels: {},
      error: null,
    });
    expect(transfer.engine_reason).not.toBe('');
    expect(await read('dax1.0', 4096, bytes.length)).toEqual(bytes);
    expect(await get(transfer.id)).toEqual(transfer);
    for (const time of [transfer.created_at, transfer.started_at, transfer.finished_at]) {
      expect(Math.abs(Date.parse(time) - before)).toBeLessThan(60_000);
    }
    const { queue_ns, copy_ns, flush_ns, verify_ns, total_ns } = transfer.timings;
    expect(total_ns).toBeGreaterThanOrEqual(queue_ns + copy_ns + flush_ns + verify_ns);
    expect(copy_ns).toBeGreaterThan(0);
    const throughput = Math.round((bytes.length * 1e9) / copy_ns);
    expect(transfer.throughput_bytes_per_second).toBe(throughput);
  });

  test('without dst_device_name it stays inside the device', async () => {
    await put('dax0.0', 0, Buffer.from('inside'));
    const response = await app.post({ ...COPY, size: 6, durability: 'none' });
    expect(response.json()).toMatchObject({
      dst_device_name: 'dax0.0',
      durability: { requested: 'none', achieved: 'none', basis: null },
      verification: null,
    });
    expect((await read('dax0.0', 4096, 6)).toString()).toBe('inside');
  });

  test('durability says what was achieved', async () => {
    const { durability } = (await app.post(COPY)).json();
    const { persistence_domain } = (await app.inject({ url: '/devices/dax0.0' })).json();
    expect(durability).toEqual(
      persistence_domain === 'volatile'
        ? { requested: 'flush', achieved: 'volatile', basis: null }
        : { requested: 'flush', achieved: 'flush', basis: 'msync' },
    );
  });

  test('segments are applied one after the other, and compared as they were copied', async () => {
    const letters = Buffer.from('ABCDEFGH');
    await put('dax0.0', 0, letters);
    const segments = [
      { src_offset: 0, dst_offset: 8, size: 8 },
      { src_offset: 8, dst_offset: 16, size: 8 },
      // Overwrites the source of the first.
      { src_offset: 12, dst_offset: 0, size: 4 },
    ];
    const response = await app.post({ device_name: 'dax0.0', segments, verify: 'crc32c' });
    const all = Buffer.concat([letters, letters, Buffer.from('EFGH')]);
    expect(response.json()).toMatchObject({
      status: 'succeeded',
      src_offset: null,
      dst_offset: null,
      size: 20,
      bytes_completed: 20,
      segments,
      verification: { method: 'crc32c', segments: 3, src: crc32cText(all), dst: crc32cText(all) },
    });
    expect((await read('dax0.0', 0, 24)).toString()).toBe('EFGHEFGHABCDEFGHABCDEFGH');
  });

  test('segments spelled as strings come back as numbers', async () => {
    const segments = [{ src_offset: '0x0', dst_offset: '4KiB', size: '1' }];
    const { segments: answered } = (await app.post({ device_name: 'dax0.0', segments })).json();
    expect(answered).toEqual([{ src_offset: 0, dst_offset: 4096, size: 1 }]);
  });
});

describe('Prefer', () => {
  test.each([
    ['respond-async', 202, 'respond-async'],
    ['Respond-Async', 202, 'respond-async'],
    ['wait=0', 202, 'wait=0'],
    ['respond-async, wait=0', 202, /respond-async.*wait=0|wait=0.*respond-async/],
    ['foo; wait=5, respond-async', 202, 'respond-async'],
  ])('%s: does not wait', async (prefer, status, applied) => {
    const blocker = await app.block('dax0.0');
    const response = await app.post(COPY, { prefer });
    expect(response.statusCode).toBe(status);
    expect(response.headers['preference-applied']).toEqual(
      typeof applied === 'string' ? applied : expect.stringMatching(applied),
    );
    const transfer = response.json();
    expect(transfer).toMatchObject({ status: 'queued', started_at: null, finished_at: null });
    expect(transfer).toMatchObject({ bytes_completed: 0, progress: 0, error: null });
    expect(response.headers.location).toBe(`/transfers/${transfer.id}`);
    expect(response.headers['retry-after']).toMatch(/^[1-9][0-9]*$/);
    await blocker.release();
    expect((await get(transfer.id, { prefer: 'wait=30' })).status).toBe('succeeded');
  });

  test.each([
    ['wait=30', 'wait=30'],
    ['wait="30"', 'wait=30'],
    ['wait=600', 'wait=60'],
    ['wait = 5', 'wait=5'],
    ['wait=5, wait=0', 'wait=5'],
    ['wait=-1', undefined],
    ['wait=soon', undefined],
    ['wait', undefined],
    ['respond-async=no', undefined],
    ['return=representation', undefined],
    ['return=minimal', 'return=minimal'],
    [';;;,,=', undefined],
    ['\u00e4', undefined],
  ])('%s: waits', async (prefer, applied) => {
    const response = await app.post(COPY, { prefer });
    expect(response.statusCode).toBe(201);
    expect(response.headers['preference-applied']).toBe(applied);
  });

  test('a wait that is too short gives 202, then the transfer goes on', async () => {
    const blocker = await app.block('dax0.0');
    const response = await app.post(COPY, { prefer: 'wait=1' });
    expect(response.statusCode).toBe(202);
    expect(response.headers['preference-applied']).toBe('wait=1');
    const { id } = response.json();
    const later = await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=1' } });
    expect(later.statusCode).toBe(200);
    expect(later.headers['preference-applied']).toBe('wait=1');
    expect(later.json().status).toBe('queued');
    await blocker.release();
    expect((await get(id, { prefer: 'wait=30' })).status).toBe('succeeded');
  });
});

describe('dry_run', () => {
  test('tells the plan, copies nothing, and leaves no trace', async () => {
    await put('dax0.0', 0, Buffer.from('source'));
    await put('dax1.0', 0, Buffer.from('target'));
    const before = (await app.inject({ url: '/transfers?page_size=1' })).json();
    const segments = [{ src_offset: 0, dst_offset: 0, size: 6 }];
    const body = { device_name: 'dax0.0', dst_device_name: 'dax1.0', segments, dry_run: true };
    const response = await app.post(body, { 'idempotency-key': 'dry', ...ASYNC });
    expect(response.statusCode).toBe(200);
    expect(response.headers).not.toHaveProperty('location');
    expect(response.json()).toEqual({
      dry_run: true,
      engine: 'cpu',
      engine_reason: expect.any(String),
      segments,
      bytes: 6,
    });
    expect((await read('dax1.0', 0, 6)).toString()).toBe('target');
    expect((await app.inject({ url: '/transfers?page_size=1' })).json()).toEqual(before);
    // Nor did it use up the key.
    const real = await app.post({ ...body, dry_run: false }, { 'idempotency-key': 'dry' });
    expect(real.statusCode).toBe(201);
  });

  test('one piece is one segment', async () => {
    const plan = (await app.post({ ...COPY, dry_run: true })).json();
    expect(plan.segments).toEqual([{ src_offset: 0, dst_offset: 4096, size: 4096 }]);
  });
});

describe('cancel', () => {
  test('one that waits: it never starts', async () => {
    await put('dax0.0', 4096, Buffer.from('untouched'));
    const blocker = await app.block('dax0.0');
    const { id } = (await app.post(COPY, ASYNC)).json();
    const answer = await cancel(id);
    expect(answer.status).toBe(200);
    const transfer = JSON.parse(answer.body.toString());
    expect(transfer).toMatchObject({
      id,
      status: 'cancelled',
      started_at: null,
      bytes_completed: 0,
      error: { code: 'cancelled', status: 409 },
    });
    expect(transfer.finished_at).not.toBeNull();
    await blocker.release();
    expect(await get(id)).toEqual(transfer);
    expect((await read('dax0.0', 4096, 9)).toString()).toBe('untouched');
  });

  test('one that runs: what is copied stays copied', async () => {
    await put('dax0.0', 0, Buffer.from('copied'));
    await put('dax1.0', 0, Buffer.from('before'));
    const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
    await until(async () => (await get(id)).bytes_completed > 0);
    const answer = await cancel(id);
    expect(answer.status).toBe(200);
    const transfer = JSON.parse(answer.body.toString());
    expect(transfer.status).toBe('cancelled');
    expect(transfer.bytes_completed).toBeGreaterThan(0);
    expect(transfer.bytes_completed).toBeLessThan(transfer.size);
    expect(transfer.progress).toBeCloseTo(transfer.bytes_completed / transfer.size);
    expect((await read('dax1.0', 0, 6)).toString()).toBe('copied');
    // What lies behind it goes on.
    expect((await app.post(COPY)).statusCode).toBe(201);
  });

  test('one that has finished: 409 not_cancellable, with the transfer', async () => {
    const { id } = (await app.post(COPY)).json();
    const problem = expectProblem(await cancel(id), 409, 'not_cancellable');
    expect(problem.transfer).toMatchObject({ id, status: 'succeeded' });
    const blocker = await app.block('dax0.0');
    const failing = (await app.post({ ...COPY, timeout_ms: 1 }, ASYNC)).json();
    await get(failing.id, { prefer: 'wait=30' });
    const failed = expectProblem(await cancel(failing.id), 409, 'not_cancellable');
    expect(failed.transfer).toMatchObject({ id: failing.id, status: 'failed' });
    await blocker.release();
  });

  test('one that was cancelled: the same answer, for the first may have been lost', async () => {
    const blocker = await app.block('dax0.0');
    const { id } = (await app.post(COPY, ASYNC)).json();
    const first = await cancel(id);
    const again = await cancel(id);
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body });
    await blocker.release();
  });

  test('many at once: all receive the stopped transfer', async () => {
    const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
    const answers = await Promise.all(Array.from({ length: 10 }, () => cancel(id)));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect((await get(id)).status).toBe('cancelled');
  });

  test.each<[what: string, fields: Record<string, string>, body: string]>([
    [
      "curl -d ''",
      { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' },
      '',
    ],
    ['JSON', { 'content-type': 'application/json', 'content-length': '0' }, ''],
    ['no length', { 'content-type': 'text/plain' }, ''],
    ['no type', { 'content-length': '0' }, ''],
    [
      'chunks, of which there is none',
      { 'content-type': 'application/x-www-form-urlencoded', 'transfer-encoding': 'chunked' },
      '0\r\n\r\n',
    ],
    ['chunks without a type', { 'transfer-encoding': 'chunked' }, '0\r\n\r\n'],
  ])('a body of no bytes is none: %s', async (_what, fields, body) => {
    const blocker = await app.block('dax0.0');
    const { id } = (await app.post(COPY, ASYNC)).json();
    const port = await app.listen();
    const answer = await exchange(port, request(`POST /transfers/${id}/cancel`, fields, body));
    expect(answer.status).toBe(200);
    await blocker.release();
  });

  test('a body of another type is refused, whole or in chunks', async () => {
    const { id } = (await app.post(COPY)).json();
    const port = await app.listen();
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const [fields, body] of [
      [type, 'x=1'],
      [{ ...type, 'transfer-encoding': 'chunked' }, '3\r\nx=1\r\n0\r\n\r\n'],
    ] as const) {
      const answer = await exchange(port, request(`POST /transfers/${id}/cancel`, fields, body));
      expectProblem(answer, 415, 'unsupported_media_type');
    }
  });

  test('with a body, which is not read', async () => {
    const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
    const answer = await app.ask({ method: 'POST', url: `/transfers/${id}/cancel`, payload: {} });
    expect(answer.status).toBe(200);
  });

  test('its client that waits gets 409 cancelled', async () => {
    const blocker = await app.block('dax0.0');
    const labels = { who: 'waits for the end' };
    const waiting = app.post({ ...COPY, labels });
    let id = '';
    await until(async () => {
      const url = '/transfers?label=who:waits%20for%20the%20end';
      id = (await app.inject({ url })).json().transfers[0]?.id;
      return id !== undefined;
    });
    expect((await cancel(id)).status).toBe(200);
    const response = await waiting;
    expect(response.headers.location).toBe(`/transfers/${id}`);
    const answer = {
      status: response.statusCode,
      headers: response.headers,
      body: response.rawPayload,
    };
    const problem = expectProblem(answer, 409, 'cancelled');
    expect(problem.transfer).toMatchObject({ id, status: 'cancelled', labels });
    await blocker.release();
  });
});

describe('timeout_ms', () => {
  const timedOut = { status: 'failed', error: { code: 'timeout', status: 504 } };

  test('504, for one that waits', async () => {
    const blocker = await app.block('dax0.0');
    const response = await app.post({ ...COPY, timeout_ms: 30 });
    const answer = {
      status: response.statusCode,
      headers: response.headers,
      body: response.rawPayload,
    };
    const problem = expectProblem(answer, 504, 'timeout');
    expect(problem.transfer).toMatchObject({ ...timedOut, bytes_completed: 0, timeout_ms: 30 });
    expect(response.headers.location).toBe(`/transfers/${problem.transfer?.id}`);
    await blocker.release();
    expect(await get(problem.transfer?.id as string)).toEqual(problem.transfer);
  });

  test('504, for one that runs', async () => {
    const response = await app.post({ ...longTransfer(SIZE), timeout_ms: 1000 });
    const answer = {
      status: response.statusCode,
      headers: response.headers,
      body: response.rawPayload,
    };
    const problem = expectProblem(answer, 504, 'timeout');
    expect(problem.transfer).toMatchObject(timedOut);
    expect(problem.transfer?.bytes_completed).toBeGreaterThan(0);
    expect((await app.post(COPY)).statusCode).toBe(201);
  });

  test('none for one that is in time', async () => {
    const { id, timeout_ms } = (await app.post({ ...COPY, timeout_ms: 30_000 })).json();
    expect(timeout_ms).toBe(30_000);
    expect((await get(id)).status).toBe('succeeded');
  });
});

describe('order and priority', () => {
  test('what does not touch runs beside what waits', async () => {
    const blocker = await app.block('dax0.0', SIZE / 2);
    const low = (await app.post({ ...COPY, priority: 'low' })).json();
    expect(low).toMatchObject({ status: 'succeeded', priority: 'low' });
    const behind = (
      await app.post({ ...COPY, dst_offset: SIZE / 2, priority: 'high' }, ASYNC)
    ).json();
    expect(behind.status).toBe('queued');
    await blocker.release();
    expect((await get(behind.id, { prefer: 'wait=30' })).status).toBe('succeeded');
  });

  test('a high one does not overtake what it touches', async () => {
    const blocker = await app.block('dax0.0');
    await put('dax1.0', 0, Buffer.from('A'));
    const at = (src: string, dst: string, priority: string) =>
      app.post(
        {
          ...{ device_name: src, dst_device_name: dst, src_offset: 0, dst_offset: 0 },
          ...{ size: 1, priority },
        },
        ASYNC,
      );
    const first = (await at('dax1.0', 'dax0.0', 'low')).json();
    const second = (
      await app.post({ ...COPY, dst_offset: 1, size: 1, priority: 'high' }, ASYNC)
    ).json();
    await blocker.release();
    const ends = await Promise.all([first, second].map(({ id }) => get(id, { prefer: 'wait=30' })));
    expect(ends.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);
    expect((await read('dax0.0', 0, 2)).toString()).toBe('AA');
    const ended = ends.map(({ finished_at }) => Date.parse(finished_at));
    expect(ended[0]).toBeLessThanOrEqual(ended[1] as number);
  });

  test('every priority, and small ones, make progress beside huge ones', async () => {
    const size = 8 * MIB;
    const lane = (index: number, priority: string) => ({
      device_name: 'dax0.0',
      dst_device_name: 'dax1.0',
      segments: Array(4096).fill({ src_offset: 0, dst_offset: index * size, size }),
      durability: 'none',
      priority,
    });
    const huge = [];
    for (const [index, priority] of ['high', 'normal', 'low'].entries()) {
      huge.push((await app.post(lane(index, priority), ASYNC)).json().id);
    }
    const small = await app.post({
      ...{ device_name: 'dax1.0', src_offset: 3 * size, dst_offset: 3 * size + 4096 },
      ...{ size: 4096, priority: 'low' },
    });
    expect(small.statusCode).toBe(201);
    for (const id of huge) await until(async () => (await get(id)).bytes_completed > 0);
    for (const id of huge) expect((await cancel(id)).status).toBe(200);
  });

  test('a PUT keeps its place among transfers', async () => {
    await put('dax0.0', 0, Buffer.from('1'));
    const port = await app.listen();
    const upload = new Wire(port).send(
      request('PUT /devices/dax0.0/content?offset=0', {
        ...{ 'content-length': '1', expect: '100-continue' },
      }),
    );
    await upload.sees('100 Continue');
    // Reads what the upload is about to write, so it waits; the next write waits for it in turn.
    const copy = (await app.post({ ...COPY, size: 1 }, ASYNC)).json();
    const behind = new Wire(port).send(request('PUT /devices/dax0.0/content?offset=0', {}, '3'));
    await sleep(50);
    expect((await get(copy.id)).status).toBe('queued');
    expect(behind.pending).toHaveLength(0);
    expect((await upload.send('2').answer()).status).toBe(200);
    expect((await behind.answer()).status).toBe(200);
    expect((await get(copy.id, { prefer: 'wait=30' })).status).toBe('succeeded');
    expect((await read('dax0.0', 4096, 1)).toString()).toBe('2');
    expect((await read('dax0.0', 0, 1)).toString()).toBe('3');
    upload.end();
    behind.end();
  });
});

describe('a client that goes away', () => {
  test('while it waits changes nothing for its transfer', async () => {
    const blocker = await app.block('dax0.0');
    const port = await app.listen();
    const body = JSON.stringify({ ...COPY, labels: { client: 'gone' } });
    const wire = new Wire(port).send(
      request('POST /transfers', { 'content-type': 'application/json' }, body),
    );
    let id = '';
    await until(async () => {
      const { transfers } = (await app.inject({ url: '/transfers?label=client:gone' })).json();
      id = transfers[0]?.id;
      return id !== undefined;
    });
    wire.end();
    await wire.closed;
    await sleep(50);
    expect((await get(id)).status).toBe('queued');
    await blocker.release();
    expect((await get(id, { prefer: 'wait=30' })).status).toBe('succeeded');
  });

  test('during an upload leaves what arrived, and lets others on', async () => {
    await put('dax0.0', 0, Buffer.from('..........'));
    const port = await app.listen();
    const wire = new Wire(port).send(
      request('PUT /devices/dax0.0/content', { 'content-length': '10' }, 'first'),
    );
    await once(wire.socket, 'connect');
    await until(waits);
    // They wait for it; what they would copy is half-written.
    const verified = (await app.post({ ...COPY, verify: 'crc32c' }, ASYNC)).json();
    const awaited = app.post(COPY);
    const whole = (await app.post({ ...COPY, src_offset: 0, size: 5 }, ASYNC)).json();
    wire.end();
    expect(await get(verified.id, { prefer: 'wait=30' })).toMatchObject({
      ...{ status: 'failed', bytes_completed: 0, verification: null },
      error: { code: 'source_incomplete', detail: expect.stringContaining('cut short') },
    });
    expect((await awaited).statusCode).toBe(409);
    // One that reads only what arrived, and one that is accepted later, go on.
    expect((await get(whole.id, { prefer: 'wait=30' })).status).toBe('succeeded');
    expect((await app.post(COPY)).statusCode).toBe(201);
    expect((await read('dax0.0', 0, 10)).toString()).toBe('first.....');

    async function waits() {
      const { id, status } = (await app.post({ ...COPY, size: 1 }, ASYNC)).json();
      await cancel(id);
      return status === 'queued';
    }
  });
});

test('429 queue_full with Retry-After, once too much waits', async () => {
  const blocker = await app.block('dax0.0');
  const ids: string[] = [];
  const segments = Array.from({ length: 4096 }, (_, n) => ({
    ...{ src_offset: n, dst_offset: n, size: 1 },
  }));
  const many = { device_name: 'dax0.0', dst_device_name: 'dax1.0', segments };
  let refused = await app.post(many, ASYNC);
  while (refused.statusCode === 202 && ids.length <= 32) {
    ids.push(refused.json().id);
    // Not checked against the document one by one: they are large.
    refused = await app.http.inject({
      ...{ method: 'POST', url: '/transfers', payload: many, headers: ASYNC },
    });
  }
  expect(ids).toHaveLength(32);
  const answer = { status: refused.statusCode, headers: refused.headers, body: refused.rawPayload };
  expectProblem(answer, 429, 'queue_full');
  expect(refused.headers['retry-after']).toMatch(/^[1-9][0-9]*$/);
  const upload = { method: 'PUT', url: '/devices/dax1.0/content', payload: 'x' } as const;
  const full = await app.ask(upload);
  expectProblem(full, 429, 'queue_full');
  expect(full.headers['retry-after']).toBeDefined();
  // Reading and asking still work.
  expect((await app.ask({ url: '/devices/dax1.0/checksum' })).status).toBe(200);
  await blocker.release();
  const last = ids.at(-1) as string;
  expect((await get(last, { prefer: 'wait=60' })).status).toBe('succeeded');
  expect((await app.post(COPY)).statusCode).toBe(201);
}, 90_000);

test('each of many clients at once gets its own answer', async () => {
  const port = await app.listen();
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      exchange(
        port,
        request(
          'POST /transfers',
          { 'content-type': 'application/json' },
          JSON.stringify({ ...COPY, labels: { n: String(index) } }),
        ),
      ),
    ),
  );
  for (const [index, answer] of answers.entries()) {
    expect(answer.status).toBe(201);
    expect(JSON.parse(answer.body.toString()).labels.n).toBe(String(index));
  }
});

/** Asks again and again; the test's own time limit ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

describe('Prefer: return=minimal', () => {
  const body = { device_name: 'dax0.0', src_offset: 0, dst_offset: 65_536, size: 4096 };

  test('a success has no body, and the rest of its header', async () => {
    const answer = await app.post(body, { prefer: 'return=minimal' });
    expect(answer.statusCode).toBe(201);
    expect(answer.rawPayload).toHaveLength(0);
    expect(answer.headers['preference-applied']).toBe('return=minimal');
    expect(answer.headers['content-type']).toBeUndefined();
    const { location } = answer.headers;
    expect((await app.inject({ url: String(location) })).json().status).toBe('succeeded');
  });

  test('nor has a 202, and it combines with other preferences', async () => {
    const blocker = await app.block('dax0.0');
    for (const [prefer, applied] of [
      ['respond-async, return=minimal', 'respond-async, return=minimal'],
      ['return="minimal"; x=y, wait=0', 'wait=0, return=minimal'],
    ] as const) {
      const answer = await app.post(body, { prefer });
      expect(answer.statusCode).toBe(202);
      expect(answer.rawPayload).toHaveLength(0);
      expect(answer.headers['preference-applied']).toBe(applied);
      expect(answer.headers['retry-after']).toBe('1');
    }
    await blocker.release();
  });

  test('a replay has none, a problem and a dry run have theirs', async () => {
    const keyed = { prefer: 'return=minimal', 'idempotency-key': 'minimal' };
    await app.post(body, keyed);
    const replay = await app.post(body, keyed);
    expect([replay.statusCode, replay.rawPayload.length]).toEqual([200, 0]);
    expect(replay.headers['idempotency-replayed']).toBe('true');
    const plan = await app.post({ ...body, dry_run: true }, { prefer: 'return=minimal' });
    expect(plan.json().dry_run).toBe(true);
    expect(plan.headers['preference-applied']).toBeUndefined();
    const refused = await app.post({ ...body, size: 0 }, { prefer: 'return=minimal' });
    expect(refused.json().code).toBe('invalid_request');
    expect(refused.headers['preference-applied']).toBeUndefined();
  });

  test('return=representation is the default', async () => {
    const answer = await app.post(body, { prefer: 'return=representation, return=minimal' });
    expect(answer.json().status).toBe('succeeded');
    expect(answer.headers['preference-applied']).toBeUndefined();
  });
});

test('Server-Timing has the phases of a success', async () => {
  const body = { device_name: 'dax0.0', src_offset: 0, dst_offset: 65_536, size: 4096 };
  const timing = async (more: object) =>
    String((await app.post({ ...body, ...more })).headers['server-timing']);
  const dur = String.raw`dur=\d+(\.\d+)?`;
  expect(await timing({ verify: 'crc32c' })).toMatch(
    new RegExp(`^queue;${dur}, copy;${dur}, flush;${dur}, verify;${dur}$`),
  );
  expect(await timing({ durability: 'none' })).toMatch(new RegExp(`^queue;${dur}, copy;${dur}$`));
});
