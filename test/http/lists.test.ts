// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 16, size: 16 };

interface Page {
  transfers: { id: string; status: string; labels: Record<string, string>; created_at: string }[];
  next_page_token: string;
}

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const list = async (query: Record<string, string | string[]> = {}): Promise<Page> => {
  const url = `/transfers?${new URLSearchParams(
    Object.entries(query).flatMap(([key, values]) =>
      [values].flat().map((value): [string, string] => [key, value]),
    ),
  )}`;
  const response = await app.inject({ url });
  expect(response.statusCode).toBe(200);
  return response.json();
};
const make = async (change: object = {}, headers: Record<string, string> = {}) =>
  (await app.post({ ...COPY, durability: 'none', ...change }, headers)).json().id as string;

test('a daemon that has done nothing lists nothing', async () => {
  expect(await list()).toEqual({ transfers: [], next_page_token: '' });
});

describe('pages', () => {
  const ids: string[] = [];
  const walk = { label: 'set:walk' };
  beforeAll(async () => {
    for (let i = 0; i < 120; i++) ids.push(await make({ labels: { set: 'walk', n: String(i) } }));
    ids.reverse();
  });

  test('newest first, 50 at a time', async () => {
    const { transfers, next_page_token } = await list(walk);
    expect(transfers.map(({ id }) => id)).toEqual(ids.slice(0, 50));
    expect(next_page_token).not.toBe('');
    const times = transfers.map(({ created_at }) => created_at);
    expect(times).toEqual([...times].sort().reverse());
  });

  test.each([1, 7, 40, 60, 119, 120, 121, 1000, 5000])(
    'of %d: each transfer once',
    async (size) => {
      const seen: string[] = [];
      let page_token = '';
      do {
        const page: Page = await list({ ...walk, page_size: String(size), page_token });
        expect(page.transfers.length).toBeLessThanOrEqual(Math.min(size, 1000));
        seen.push(...page.transfers.map(({ id }) => id));
        page_token = page.next_page_token;
      } while (page_token !== '');
      expect(seen).toEqual(ids);
    },
  );

  test('while new ones arrive, a walk sees what was there', async () => {
    const seen: string[] = [];
    let page_token = '';
    do {
      const page: Page = await list({ ...walk, page_size: '13', page_token });
      seen.push(...page.transfers.map(({ id }) => id));
      page_token = page.next_page_token;
      for (let i = 0; i < 5; i++) await make({ labels: { set: 'walk', late: 'yes' } });
    } while (page_token !== '');
    expect(seen).toEqual(ids);
  });

  test('a token belongs to its filters', async () => {
    const { next_page_token: page_token } = await list({ ...walk, page_size: '10' });
    expect(page_token).not.toBe('');
    // Another page size is no other filter (AIP-158).
    expect((await list({ ...walk, page_size: '20', page_token })).transfers).toHaveLength(20);
    for (const change of [{}, { label: 'set:other' }, { ...walk, status: 'failed' }]) {
      const url = `/transfers?${new URLSearchParams({ ...change, page_token })}`;
      expectProblem(await app.ask({ url }), 400, 'invalid_request', ['/page_token']);
    }
    for (const broken of [
      page_token.slice(1),
      `${page_token}x`,
      page_token.toUpperCase(),
      'AAAA',
    ]) {
      const url = `/transfers?${new URLSearchParams({ ...walk, page_token: broken })}`;
      expectProblem(await app.ask({ url }), 400, 'invalid_request', ['/page_token']);
    }
  });

  test('pages of transfers with thousands of segments stay small', async () => {
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 16, size: 1 });
    const labels = { set: 'large' };
    for (let i = 0; i < 20; i++) {
      await app.post({ device_name: 'dax0.0', segments, labels, durability: 'none' });
    }
    let seen = 0;
    let page_token = '';
    do {
      const url = `/transfers?${new URLSearchParams({ label: 'set:large', page_token })}`;
      const response = await app.inject({ url });
      expect(response.rawPayload.length).toBeLessThan(10 * 2 ** 20);
      const page: Page = response.json();
      expect(page.transfers.length).toBeGreaterThan(0);
      seen += page.transfers.length;
      page_token = page.next_page_token;
    } while (page_token !== '');
    expect(seen).toBe(20);
  });
});

describe('filters', () => {
  let inside: string;
  let across: string;
  let waiting: string;
  const all = async (query: Record<string, string | string[]>) =>
    (await list({ page_size: '1000', ...query })).transfers.map(({ id }) => id);

  beforeAll(async () => {
    const labels = { kind: 'filter', odd: 'a:b=c&d e', empty: '' };
    inside = await make({ labels: { ...labels, which: 'inside' } });
    across = await make({ dst_device_name: 'dax1.0', labels: { ...labels, which: 'across' } });
    const blocker = await app.block('dax1.0');
    waiting = await make(
      { device_name: 'dax1.0', labels: { ...labels, which: 'waiting' } },
      { prefer: 'respond-async' },
    );
    await app.inject({ method: 'POST', url: `/transfers/${waiting}/cancel` });
    await blocker.release();
  });

  test('by label', async () => {
    expect(await all({ label: 'which:inside' })).toEqual([inside]);
    expect(await all({ label: 'kind:filter' })).toEqual([waiting, across, inside]);
    expect(await all({ label: ['kind:filter', 'which:across'] })).toEqual([across]);
    expect(await all({ label: ['which:inside', 'which:across'] })).toEqual([]);
    expect(await all({ label: 'kind:other' })).toEqual([]);
    expect(await all({ label: 'odd:a:b=c&d e' })).toEqual([waiting, across, inside]);
    expect(await all({ label: 'empty:' })).toEqual([waiting, across, inside]);
    // Nothing of JavaScript's is a label.
    expect(await all({ label: 'toString:' })).toEqual([]);
    expect(await all({ label: '__proto__:x' })).toEqual([]);
  });

  test('by device, as source or destination', async () => {
    const label = 'kind:filter';
    expect(await all({ label, device_name: 'dax1.0' })).toEqual([waiting, across]);
    expect(await all({ label, device_name: '/dev/dax0.0' })).toEqual([across, inside]);
    expect(await all({ label, device_name: 'dax0' })).toEqual([]);
  });

  test('by status and engine', async () => {
    const label = 'kind:filter';
    expect(await all({ label, status: 'cancelled' })).toEqual([waiting]);
    expect(await all({ label, status: 'succeeded' })).toEqual([across, inside]);
    expect(await all({ label, status: 'queued' })).toEqual([]);
    expect(await all({ label, engine: 'cpu' })).toEqual([waiting, across, inside]);
    expect(await all({ label, engine: 'dma' })).toEqual([]);
  });
});

describe('what is listed', () => {
  const set = { label: 'set:what' };
  beforeAll(async () => {
    for (let n = 0; n < 3; n++) await make({ labels: { set: 'what', n: String(n) } });
  });

  test('of several statuses', async () => {
    const found = await list({ ...set, status: 'queued,running,succeeded' });
    expect(found.transfers).toHaveLength(3);
    expect((await list({ ...set, status: 'failed,queued' })).transfers).toEqual([]);
  });

  test('of a span of time', async () => {
    const { transfers } = await list(set);
    const [newest, middle] = transfers.map(({ created_at }) => created_at);
    const later = new Date(Date.parse(newest as string) + 1).toISOString();
    expect((await list({ ...set, created_after: later })).transfers).toEqual([]);
    expect((await list({ ...set, created_before: later })).transfers).toHaveLength(3);
    const since = await list({ ...set, created_after: middle as string });
    expect(since.transfers.map(({ id }) => id)).toContain(transfers[1]?.id);
    const before = await list({ ...set, created_before: middle as string });
    expect(before.transfers.map(({ id }) => id)).not.toContain(transfers[1]?.id);
    // As in other places on earth.
    const offset = (middle as string).replace('Z', '+00:00');
    expect((await list({ ...set, created_after: offset })).transfers).toEqual(since.transfers);
  });

  test('without segments and timings, if that is asked for', async () => {
    const { transfers } = await list({ ...set, view: 'basic' });
    const [full] = (await list({ ...set, view: 'full' })).transfers;
    const { segments, timings, ...basic } = full as unknown as Record<string, unknown>;
    expect(transfers[0]).toEqual(basic);
    expect({ segments, timings }).toMatchObject({ segments: null, timings: expect.any(Object) });
  });
});
