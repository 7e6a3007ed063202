// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Blocker, startTestApp, type TestApp } from '../support/app.ts';
import { type Answer, expectProblem } from '../support/conformance.ts';
import { runs } from '../support/depth.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

let app: TestApp;
let keys = 0;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const newKey = () => `key-${++keys}`;
const post = (key: string, body: unknown, headers: Record<string, string> = {}) =>
  app.ask({
    method: 'POST',
    url: '/transfers',
    payload: body as object,
    headers: { 'idempotency-key': key, ...headers },
  });
const idOf = (answer: { body: Buffer }): string => JSON.parse(answer.body.toString()).id;
const count = async (label: string) =>
  (await app.inject({ url: `/transfers?label=${label}` })).json().transfers.length;

test('the same again: 200, the same transfer, no second copy', async () => {
  const key = newKey();
  const body = { ...COPY, labels: { test: 'again' } };
  const first = await post(key, body);
  expect(first.status).toBe(201);
  // What a second copy would overwrite.
  await app.inject({ method: 'PUT', url: '/devices/dax0.0/content?offset=4096', payload: 'later' });
  const second = await post(key, body);
  expect(second.status).toBe(200);
  expect(second.headers['idempotency-replayed']).toBe('true');
  expect(first.headers['idempotency-replayed']).toBeUndefined();
  expect(JSON.parse(second.body.toString())).toEqual(JSON.parse(first.body.toString()));
  expect(second.headers.location).toBe(first.headers.location);
  expect(await count('test:again')).toBe(1);
  const range = { range: 'bytes=4096-4100' };
  const read = await app.ask({ url: '/devices/dax0.0/content', headers: range });
  expect(read.body.toString()).toBe('later');
});

test('the meaning of the body counts, not its spelling', async () => {
  const key = newKey();
  const id = idOf(await post(key, { ...COPY, labels: { a: '1', b: '2' } }));
  const spellings: unknown[] = [
    {
      labels: { b: '2', a: '1' },
      size: '0x1000',
      dst_offset: '4KiB',
      src_offset: '0',
      ...{ device_name: '/dev/dax0.0' },
    },
    {
      ...{ ...COPY, dst_device_name: 'dax0.0', engine: 'auto', durability: 'flush' },
      ...{ verify: 'none', priority: 'normal', labels: { a: '1', b: '2' }, dry_run: false },
    },
  ];
  for (const body of spellings) {
    const answer = await post(key, body);
    expect({ status: answer.status, id: idOf(answer) }).toEqual({ status: 200, id });
  }
});

test('another body: 422 idempotency_key_reused', async () => {
  const key = newKey();
  const id = idOf(await post(key, COPY));
  const changes: object[] = [
    { size: 4095 },
    { dst_offset: 8192 },
    { dst_device_name: 'dax1.0' },
    { engine: 'cpu' },
    { durability: 'none' },
    { verify: 'crc32c' },
    { priority: 'low' },
    { timeout_ms: 60_000 },
    { labels: { a: '' } },
  ];
  for (const change of changes) {
    expectProblem(await post(key, { ...COPY, ...change }), 422, 'idempotency_key_reused');
  }
  const { device_name, ...segment } = COPY;
  const segmented = await post(key, { device_name, segments: [segment] });
  expectProblem(segmented, 422, 'idempotency_key_reused');
  // The key still stands for the first.
  expect(idOf(await post(key, COPY))).toBe(id);
});

test('labels are not mixed up by what is in them', async () => {
  const key = newKey();
  await post(key, { ...COPY, labels: { a: 'b","c' } });
  const answer = await post(key, { ...COPY, labels: { a: 'b', c: '' } });
  expectProblem(answer, 422, 'idempotency_key_reused');
});

test('many at once make one transfer', async () => {
  const key = newKey();
  const body = { ...COPY, labels: { test: 'at-once' } };
  const answers = await Promise.all(Array.from({ length: 30 }, () => post(key, body)));
  expect(new Set(answers.map(idOf)).size).toBe(1);
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
  for (const { status } of answers) expect([200, 201, 202]).toContain(status);
  expect(await count('test:at-once')).toBe(1);
});

test('202 while it is unfinished, then 200', async () => {
  const key = newKey();
  const blocker = await app.block('dax0.0');
  const id = idOf(await post(key, COPY, { prefer: 'respond-async' }));
  const unfinished = await post(key, COPY, { prefer: 'respond-async' });
  expect({ status: unfinished.status, id: idOf(unfinished) }).toEqual({ status: 202, id });
  expect(unfinished.headers['retry-after']).toMatch(/^[1-9][0-9]*$/);
  expect(unfinished.headers.location).toBe(`/transfers/${id}`);
  await blocker.release();
  await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=30' } });
  const finished = await post(key, COPY);
  expect({ status: finished.status, id: idOf(finished) }).toEqual({ status: 200, id });
  for (const { headers } of [unfinished, finished]) {
    expect(headers['idempotency-replayed']).toBe('true');
  }
});

test('one that failed or was cancelled gives the same problem with the same status again', async () => {
  const blocker = await app.block('dax0.0');
  const failing = newKey();
  const slow = { ...COPY, timeout_ms: 20 };
  const failed = expectProblem(await post(failing, slow), 504, 'timeout');
  const again = await post(failing, slow);
  expect(again.headers['idempotency-replayed']).toBe('true');
  const { instance: _, ...problem } = expectProblem(again, 504, 'timeout');
  expect(failed).toMatchObject(problem);
  expect(again.headers.location).toBe(`/transfers/${(failed.transfer as { id: string }).id}`);

  const cancelling = newKey();
  const id = idOf(await post(cancelling, COPY, { prefer: 'respond-async' }));
  await app.inject({ method: 'POST', url: `/transfers/${id}/cancel` });
  const cancelled = await post(cancelling, COPY);
  expect(cancelled.headers['idempotency-replayed']).toBe('true');
  const { transfer } = expectProblem(cancelled, 409, 'cancelled');
  expect(transfer).toMatchObject({ id, status: 'cancelled' });
  await blocker.release();
});

test('a replay of a failure does not ask for another retry, which could bring nothing else', async () => {
  const key = newKey();
  const blocker = await app.block('dax0.0');
  const id = idOf(await post(key, COPY, { prefer: 'respond-async' }));
  const device = app.inventory.get(COPY.device_name);
  device.state = 'gone';
  try {
    await blocker.release();
    await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=30' } });
    const replay = await post(key, COPY);
    expectProblem(replay, 503, 'device_gone');
    expect(replay.headers['retry-after']).toBeUndefined();
  } finally {
    device.state = 'online';
  }
});

test('a replay honours Prefer, as the first request does', async () => {
  const key = newKey();
  const blocker = await app.block('dax0.0');
  const id = idOf(await post(key, COPY, { prefer: 'respond-async' }));
  const brief = await post(key, COPY, { prefer: 'wait=0' });
  expect({ status: brief.status, id: idOf(brief) }).toEqual({ status: 202, id });
  expect(brief.headers['preference-applied']).toBe('wait=0');

  let answered = false;
  const waiting = [post(key, COPY, { prefer: 'wait=30' }), post(key, COPY)];
  void Promise.race(waiting).then(() => {
    answered = true;
  });
  await sleep(200);
  expect(answered).toBe(false);
  await blocker.release();
  const [patient, silent] = (await Promise.all(waiting)) as [Answer, Answer];
  expect({ status: patient.status, id: idOf(patient) }).toEqual({ status: 200, id });
  expect(patient.headers['preference-applied']).toBe('wait=30');
  expect({ status: silent.status, id: idOf(silent) }).toEqual({ status: 200, id });
  expect(silent.headers['preference-applied']).toBeUndefined();
});

test('a replay that waits sees a failure as the first request would', async () => {
  const key = newKey();
  const blocker = await app.block('dax0.0');
  const id = idOf(await post(key, COPY, { prefer: 'respond-async' }));
  const waiting = post(key, COPY, { prefer: 'wait=30' });
  await sleep(50);
  await app.inject({ method: 'POST', url: `/transfers/${id}/cancel` });
  expectProblem(await waiting, 409, 'cancelled');
  await blocker.release();
});

test('a refused request does not use up its key', async () => {
  const key = newKey();
  expectProblem(await post(key, { ...COPY, size: 0 }), 400, 'invalid_request');
  expectProblem(await post(key, { ...COPY, device_name: 'dax9.0' }), 422, 'unknown_device');
  expectProblem(await post(key, { ...COPY, src_offset: 2 ** 40 }), 422, 'out_of_range');
  expectProblem(await post(key, { ...COPY, engine: 'dma' }), 422, 'engine_unavailable');
  expect((await post(key, COPY)).status).toBe(201);
});

test('a body that is none is refused with a known key too, and any other is another one', async () => {
  const key = newKey();
  expect((await post(key, COPY)).status).toBe(201);
  expectProblem(await post(key, { ...COPY, size: 0 }), 400, 'invalid_request');
  const other = { ...COPY, device_name: 'dax9.0' };
  expectProblem(await post(key, other), 422, 'idempotency_key_reused');
});

test('a replay is given though the copy would not be possible any more', async () => {
  const key = newKey();
  const id = idOf(await post(key, COPY));
  const device = app.inventory.get(COPY.device_name);
  device.state = 'gone';
  try {
    expectProblem(await post(newKey(), COPY), 503, 'device_gone');
    const replay = await post(key, COPY);
    expect({ status: replay.status, id: idOf(replay) }).toEqual({ status: 200, id });
  } finally {
    device.state = 'online';
  }
});

test('an invalid key is reported before what the body names is looked at', async () => {
  const none = 'k'.repeat(256);
  const problem = expectProblem(
    await post(none, { ...COPY, device_name: 'dax9.0' }),
    400,
    'invalid_request',
  );
  expect(problem.errors).toMatchObject([{ pointer: '/idempotency-key' }]);
  expectProblem(await post(none, { ...COPY, dry_run: true }), 400, 'invalid_request');
});

test('keys', async () => {
  const keys = ['x', '"quoted"', '~!@#$%^&*()', 'k'.repeat(255), `"${'q'.repeat(255)}"`, '"half'];
  for (const key of keys) {
    expect((await post(key, COPY)).status).toBe(201);
    expect((await post(key, COPY)).status).toBe(200);
  }
  const none = ['', 'k'.repeat(256), 'k\u00e4se', 'tab\tbed', '""', `"${'q'.repeat(256)}"`];
  for (const key of none) {
    expectProblem(await post(key, COPY), 400, 'invalid_request');
  }
});

test('a key is the same with and without the quotes of a structured field', async () => {
  for (const [bare, quoted] of [
    ['structured', '"structured"'],
    ['with "quotes" and a \\', '"with \\"quotes\\" and a \\\\"'],
  ] as const) {
    const id = idOf(await post(bare, COPY));
    const again = await post(quoted, COPY);
    expect({ status: again.status, id: idOf(again) }).toEqual({ status: 200, id });
  }
});

/** What a request with a key that is known is answered, and how that ends. */
type Outcome = 'none' | 'queued' | 'succeeded' | 'cancelled' | 'failed';
const ANSWERS: Record<Exclude<Outcome, 'none'>, number> = {
  queued: 202,
  succeeded: 200,
  cancelled: 409,
  failed: 504,
};

test('every answer says what became of the transfer by then, whatever happens in which order', async () => {
  const step = fc.record({
    key: fc.nat(2),
    what: fc.constantFrom('post', 'post', 'wait', 'cancel', 'another body', 'refused', 'unblock'),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 14 }),
      // Whose transfer has a deadline that passes while it waits.
      fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
      async (steps, late) => {
        let blocker: Blocker | undefined = await app.block('dax0.0');
        const model = late.map((timed) => ({
          key: newKey(),
          body: timed ? { ...COPY, timeout_ms: 1 } : COPY,
          outcome: 'none' as Outcome,
          id: '',
        }));
        for (const { key: index, what } of steps) {
          const one = model[index] as (typeof model)[number];
          const { key, body } = one;
          if (what === 'unblock') {
            await blocker?.release();
            blocker = undefined;
            for (const each of model) {
              if (each.outcome !== 'queued') continue;
              await app.inject({ url: `/transfers/${each.id}`, headers: { prefer: 'wait=30' } });
              each.outcome = 'succeeded';
            }
          } else if (what === 'cancel') {
            if (one.outcome === 'none') continue;
            const url = `/transfers/${one.id}/cancel`;
            const { statusCode } = await app.inject({ method: 'POST', url });
            if (one.outcome === 'queued') one.outcome = 'cancelled';
            assert.equal(statusCode, one.outcome === 'cancelled' ? 200 : 409);
          } else if (what === 'another body') {
            if (one.outcome === 'none') continue;
            assert.equal((await post(key, { ...COPY, size: 7 })).status, 422);
          } else if (what === 'refused') {
            assert.equal((await post(key, { ...COPY, size: 0 })).status, 400);
          } else {
            const wait: boolean = what === 'wait' && (blocker === undefined || body !== COPY);
            const prefer: string = wait ? 'wait=30' : 'respond-async';
            const answer = await post(key, body, { prefer });
            const { transfer, ...document } = JSON.parse(answer.body.toString());
            const { id } = transfer ?? document;
            const replayed = one.outcome !== 'none';
            assert.equal(answer.headers['idempotency-replayed'], replayed ? 'true' : undefined);
            assert.equal(answer.headers['preference-applied'], prefer);
            if (replayed) {
              assert.equal(id, one.id);
              assert.equal(answer.status, ANSWERS[one.outcome as keyof typeof ANSWERS]);
              continue;
            }
            one.id = id;
            // How it ends if nobody cancels it; in time or not is a race where nothing is in its way.
            const found = await app.inject({
              url: `/transfers/${id}`,
              headers: { prefer: blocker === undefined || body !== COPY ? 'wait=30' : 'wait=0' },
            });
            one.outcome = found.json().status;
            if (wait) assert.ok([201, 504].includes(answer.status));
          }
        }
        await blocker?.release();
      },
    ),
    { numRuns: runs(40) },
  );
});
