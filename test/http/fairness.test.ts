// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const MIB = 2 ** 20;
const RATE = 16 * MIB;

let directory: string;
let app: TestApp;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'flood' },
    { name: 'other' },
    { name: 'slow', limits: { bytes_per_second: RATE } },
    { name: 'few', limits: { transfers_in_flight: 2 } },
  ];
  app = await startTestApp({
    environment: {
      DMAD_TOKENS_FILE: writeTokens(directory, tokens),
      DMAD_DEVICES: 'emulated:dax0.0=64MiB,emulated:dax1.0=64MiB',
    },
  });
});
afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

const post = (client: string, body: object, headers = {}) =>
  app.ask({
    method: 'POST',
    url: '/transfers',
    payload: body,
    headers: { ...bearer(client), ...headers },
  });
const copy = (size: number, members = {}) => ({
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0, size },
  ...{ durability: 'none', ...members },
});

describe('limits of a token', () => {
  test('transfers that are not over; the next one as soon as one is', async () => {
    // Behind what takes for ever.
    const ahead = { device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' };
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 0, size: 64 * MIB });
    const async = { prefer: 'respond-async' };
    const first = JSON.parse((await post('flood', { ...ahead, segments }, async)).body.toString());
    const mine = await Promise.all([1, 2].map(() => post('few', copy(16), async)));
    expect(mine.map(({ status }) => status)).toEqual([202, 202]);
    const third = await post('few', copy(16), async);
    expectProblem(third, 429, 'queue_full');
    expect(Number(third.headers['retry-after'])).toBeGreaterThan(0);
    expect((await post('other', copy(16), async)).status).toBe(202);
    const cancel = (client: string, id: string) =>
      app.ask({ method: 'POST', url: `/transfers/${id}/cancel`, headers: bearer(client) });
    const { id } = JSON.parse((mine[0] as { body: Buffer }).body.toString());
    expect((await cancel('few', id)).status).toBe(200);
    expect((await post('few', copy(16), async)).status).toBe(202);
    expect((await cancel('flood', first.id)).status).toBe(200);
    expect((await post('few', copy(16), { prefer: 'wait=30' })).status).toBeLessThan(430);
  });

  // Reckoned by the daemon's own times: how long the test's process waits does not count.
  test('bytes a second, of many transfers and of a large one, within 10 %', async () => {
    const sizes = [...Array(16).fill(MIB), 16 * MIB, ...Array(16).fill(MIB)];
    const answers = await Promise.all(
      sizes.map((size, i) =>
        post('slow', copy(size, { dst_offset: (i % 32) * MIB }), { prefer: 'wait=60' }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(sizes.map(() => 201));
    const made = answers.map(({ body }) => JSON.parse(body.toString()));
    const begin = Math.min(...made.map(({ created_at }) => Date.parse(created_at)));
    const end = Math.max(...made.map(({ finished_at }) => Date.parse(finished_at)));
    const bytes = sizes.reduce((a, b) => a + b, 0);
    expect(bytes / ((end - begin) / 1000)).toBeLessThan(RATE * 1.1);
  });

  test('bytes a second, of content both ways', async () => {
    const url = '/devices/dax0.0/content';
    const begin = performance.now();
    const write = await app.ask({
      ...{ method: 'PUT', url, payload: Buffer.alloc(16 * MIB) },
      headers: { ...bearer('slow'), 'content-type': 'application/octet-stream' },
    });
    expect(write.status).toBe(200);
    const read = await app.ask({
      url,
      headers: { ...bearer('slow'), range: `bytes=0-${16 * MIB - 1}` },
    });
    expect(read.status).toBe(206);
    // Two seconds' worth; a tenth for the burst. A busy machine can only make it longer.
    expect(performance.now() - begin).toBeGreaterThan(1_700);
  });
});

test("one client's flood does not keep another's small transfer from running", async () => {
  const async = { prefer: 'respond-async' };
  // All slots for large ones are taken, and hundreds wait, on bytes of their own.
  const segments = (at: number) =>
    Array(4096).fill({ src_offset: at * MIB, dst_offset: at * MIB, size: MIB });
  const flood = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      post(
        'flood',
        {
          ...copy(1, {}),
          src_offset: undefined,
          dst_offset: undefined,
          size: undefined,
          segments: segments(i),
        },
        async,
      ),
    ),
  );
  expect(flood.map(({ status }) => status)).toEqual(flood.map(() => 202));
  const place = { src_offset: 40 * MIB, dst_offset: 40 * MIB };
  for (const size of [16, 2 * MIB]) {
    for (const priority of ['high', 'normal', 'low']) {
      const { status } = await post('other', copy(size, { ...place, priority }), {
        prefer: 'wait=60',
      });
      expect(status).toBe(201);
    }
  }
  const ids = flood.map(({ body }) => JSON.parse(body.toString()).id as string);
  const states = await Promise.all(
    ids.map(async (id) => {
      const { body } = await app.ask({ url: `/transfers/${id}`, headers: bearer('flood') });
      return JSON.parse(body.toString()).status as string;
    }),
  );
  // It was done while the flood stood.
  expect(states).toContain('queued');
  for (const id of ids) {
    await app.ask({ method: 'POST', url: `/transfers/${id}/cancel`, headers: bearer('flood') });
  }
});
