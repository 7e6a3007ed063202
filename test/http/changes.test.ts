// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const MIB = 2 ** 20;
/** Large enough that a {@link longTransfer} outlasts every request about it. */
const SIZE = 32 * MIB;
const DMAD_DEVICES = `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}`;
const ASYNC = { prefer: 'respond-async' };
const MERGE_PATCH = { 'content-type': 'application/merge-patch+json' };
const COPY = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

let directory: string;
let app: TestApp;
let guarded: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'one' },
    { name: 'other' },
    { name: 'reader', scopes: ['transfers:read'] as const },
  ];
  app = await startTestApp({ environment: { DMAD_DEVICES }, parentDir: MEMORY_DIR });
  guarded = await startTestApp({
    environment: { DMAD_DEVICES, DMAD_TOKENS_FILE: writeTokens(directory, tokens) },
    parentDir: MEMORY_DIR,
  });
});
afterAll(async () => {
  await Promise.all([app.close(0), guarded.close(0)]);
  rmSync(directory, { recursive: true, force: true });
});

const ask = (id: string, payload: unknown, headers = {}, to = app) =>
  to.ask({
    ...{ method: 'PATCH', url: `/transfers/${id}`, headers: { ...MERGE_PATCH, ...headers } },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const patch = async (id: string, payload: object) => {
  const { status, body } = await ask(id, payload);
  expect(status).toBe(200);
  return JSON.parse(body.toString());
};
const get = async (id: string) => (await app.inject({ url: `/transfers/${id}` })).json();
const waitFor = async (id: string) =>
  (await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=10' } })).json();

/** Does something with a transfer that is queued until then. */
async function whileQueued(work: (id: string) => Promise<void>, members = {}): Promise<void> {
  const blocker = await app.block('dax0.0');
  const { id } = (await app.post({ ...COPY, ...members }, ASYNC)).json();
  try {
    await work(id);
  } finally {
    await blocker.release();
  }
  await waitFor(id);
}

describe('PATCH of a queued transfer', () => {
  test('changes what it names; null is the default, and removes a label', async () => {
    const members = { priority: 'low', timeout_ms: 60_000, labels: { a: '1', b: '2' } };
    await whileQueued(async (id) => {
      const changed = await patch(id, { labels: { a: null, b: '3', c: '4', none: null } });
      expect(changed).toMatchObject({ id, status: 'queued', priority: 'low', timeout_ms: 60_000 });
      expect(changed.labels).toEqual({ b: '3', c: '4' });
      expect(await get(id)).toMatchObject({ labels: changed.labels });
      expect(await patch(id, { priority: 'high', timeout_ms: 1_000_000 })).toMatchObject({
        ...{ priority: 'high', timeout_ms: 1_000_000, labels: { b: '3', c: '4' } },
      });
      const empty = await patch(id, { priority: null, timeout_ms: null, labels: null });
      expect(empty).toMatchObject({ priority: 'normal', timeout_ms: null });
      expect(empty.labels).toEqual({});
      expect(await patch(id, {})).toMatchObject({ priority: 'normal', labels: {} });
      const found = await app.inject({ url: '/transfers?label=b:3' });
      expect(found.json().transfers).toEqual([]);
    }, members);
  });

  test('is found by the labels that it has now', async () => {
    await whileQueued(async (id) => {
      await patch(id, { labels: { found: 'now' } });
      const { transfers } = (await app.inject({ url: '/transfers?label=found:now' })).json();
      expect(transfers.map((one: { id: string }) => one.id)).toEqual([id]);
    });
  });

  test('a timeout counts from acceptance; one that has passed ends it at once', async () => {
    await whileQueued(async (id) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await patch(id, { timeout_ms: 10 });
      expect(await waitFor(id)).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
      expectProblem(await ask(id, { timeout_ms: 10 }), 409, 'not_changeable');
    });
  });

  test('one that is taken away does not end it, nor does the one before a longer one', async () => {
    const blocker = await app.block('dax0.0');
    const members = { ...COPY, timeout_ms: 1000 };
    const ids: string[] = [];
    for (const timeout_ms of [null, 100_000]) {
      const { id } = (await app.post(members, ASYNC)).json();
      await patch(id, { timeout_ms });
      ids.push(id);
    }
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await blocker.release();
    for (const id of ids) expect(await waitFor(id)).toMatchObject({ status: 'succeeded' });
  });

  test('its watchers hear of it, and its key still stands for what was asked at first', async () => {
    const blocker = await app.block('dax0.0');
    const keyed = () => app.post(COPY, { ...ASYNC, 'idempotency-key': 'patched' });
    const { id } = (await keyed()).json();
    await patch(id, { priority: 'low', labels: { changed: 'yes' } });
    const replay = await keyed();
    expect(replay.statusCode).toBe(202);
    expect(replay.json()).toMatchObject({ id, priority: 'low', labels: { changed: 'yes' } });
    await blocker.release();
    await waitFor(id);
  });
});

test('one that a client waits for can be changed too, and is not in the journal for it', async () => {
  const blocker = await app.block('dax0.0');
  const awaited = app.post({ ...COPY, labels: { what: 'awaited' } }, { prefer: 'wait=30' });
  let [found] = [] as { id: string }[];
  while (found === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    [found] = (await app.inject({ url: '/transfers?label=what:awaited' })).json().transfers;
  }
  expect(await patch(found.id, { labels: { more: 'x' } })).toMatchObject({
    labels: { what: 'awaited', more: 'x' },
  });
  await blocker.release();
  expect((await awaited).json()).toMatchObject({
    ...{ status: 'succeeded', labels: { what: 'awaited', more: 'x' } },
  });
});

test('a running one keeps its priority, and then all else; labels and timeout can change', async () => {
  const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
  while ((await get(id)).status === 'queued')
    await new Promise((resolve) => setTimeout(resolve, 5));
  for (const priority of ['high', 'normal', null]) {
    const refused = await ask(id, { priority, labels: { not: 'this' }, timeout_ms: 1 });
    const problem = expectProblem(refused, 409, 'not_changeable');
    expect(problem.transfer).toMatchObject({ id, labels: {}, timeout_ms: null });
  }
  expect(await patch(id, { labels: { a: 'b' }, timeout_ms: 200_000 })).toMatchObject({
    ...{ status: 'running', labels: { a: 'b' }, timeout_ms: 200_000 },
  });
  await patch(id, { timeout_ms: 1 });
  expect(await waitFor(id)).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
});

describe('PATCH is refused, and changes nothing', () => {
  test('of one that has finished, whatever it changes', async () => {
    const { id } = (await app.post(COPY)).json();
    for (const payload of [{}, { labels: { a: 'b' } }, { priority: 'normal' }]) {
      const problem = expectProblem(await ask(id, payload), 409, 'not_changeable');
      expect(problem.transfer).toMatchObject({ id, status: 'succeeded', labels: {} });
    }
  });

  test('of none', async () => {
    expectProblem(await ask('01a20400-0be6-721d-ba17-e230afce8d70', {}), 404, 'not_found');
    expectProblem(await ask('none', {}), 404, 'not_found');
  });

  test.each([
    ['null', ''],
    ['[]', ''],
    ['"low"', ''],
    ['{"priority": "urgent"}', '/priority'],
    ['{"priority": ["low"]}', '/priority'],
    ['{"timeout_ms": 0}', '/timeout_ms'],
    ['{"timeout_ms": 1.5}', '/timeout_ms'],
    ['{"timeout_ms": 86400001}', '/timeout_ms'],
    ['{"timeout_ms": "5"}', '/timeout_ms'],
    ['{"labels": []}', '/labels'],
    ['{"labels": {"a": 1}}', '/labels/a'],
    ['{"labels": {"a:b": "c"}}', '/labels/a:b'],
    ['{"labels": {"": null}}', '/labels/'],
    [`{"labels": {"a": "${'x'.repeat(256)}"}}`, '/labels/a'],
    ['{"size": 4096}', '/size'],
    ['{"status": "cancelled", "priority": "low"}', '/status'],
    [`{"labels": ${JSON.stringify(manyLabels(17))}}`, '/labels'],
  ])('%s', async (payload, pointer) => {
    await whileQueued(
      async (id) => {
        const problem = expectProblem(await ask(id, payload), 400, 'invalid_request');
        expect(problem.errors?.[0]?.pointer ?? '').toBe(pointer);
        expect(await get(id)).toMatchObject({ priority: 'high', labels: { own: 'x' } });
      },
      { priority: 'high', labels: { own: 'x' } },
    );
  });

  test('for a label too many beside those that there are', async () => {
    await whileQueued(
      async (id) => {
        const problem = expectProblem(
          await ask(id, { priority: 'low', labels: { one: '1', two: '2' } }),
          ...([400, 'invalid_request'] as const),
        );
        expect(problem.errors?.[0]?.pointer).toBe('/labels');
        expect(await get(id)).toMatchObject({ priority: 'normal', labels: manyLabels(15) });
        // In the place of another one.
        await patch(id, { labels: { one: '1', two: '2', k0: null } });
      },
      { labels: manyLabels(15) },
    );
  });

  test.each([
    ['application/json', '{}'],
    ['application/json-patch+json', '[]'],
    ['text/plain', '{}'],
    ['', '{}'],
  ])('with a body of type "%s"', async (type, payload) => {
    await whileQueued(async (id) => {
      const answer = await ask(id, payload, { 'content-type': type });
      expectProblem(answer, 415, 'unsupported_media_type');
      if (type !== '') expect(answer.headers['accept-patch']).toBe('application/merge-patch+json');
    });
  });

  test('without a body, with one that is no JSON, with one that is too large', async () => {
    await whileQueued(async (id) => {
      expectProblem(await ask(id, ''), 400, 'invalid_request');
      expectProblem(await ask(id, '{"priority": '), 400, 'invalid_request');
      expectProblem(await ask(id, `"${'x'.repeat(MIB)}"`), 413, 'payload_too_large');
    });
  });

  test('a merge patch is no body for other routes', async () => {
    const answer = await app.ask({
      ...{ method: 'POST', url: '/transfers', headers: MERGE_PATCH },
      payload: JSON.stringify(COPY),
    });
    expectProblem(answer, 415, 'unsupported_media_type');
  });

  test("of another client's, and without the right", async () => {
    const body = longTransfer(SIZE);
    const { id } = (await guarded.post(body, { ...ASYNC, ...bearer('one') })).json();
    expectProblem(await ask(id, { labels: {} }, bearer('other'), guarded), 404, 'not_found');
    expectProblem(await ask(id, { labels: {} }, bearer('reader'), guarded), 403, 'forbidden');
    expectProblem(await ask(id, { labels: {} }, {}, guarded), 401, 'unauthenticated');
    expect((await ask(id, { labels: {} }, bearer('one'), guarded)).status).toBe(200);
  });
});

function manyLabels(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));
}
