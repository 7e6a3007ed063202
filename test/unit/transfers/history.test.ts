// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import type { FinishedLimits } from '../../../services/daemon/transfers/finished.ts';
import { History } from '../../../services/daemon/transfers/history.ts';
import { transferListQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { type End, STATUSES, type Status } from '../../../services/daemon/transfers/schema.ts';
import { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { runs } from '../../support/depth.ts';
import {
  acceptedAgo,
  CLOCK,
  makeDevice,
  makeOrigin,
  makePlan,
  makeTransfer,
  viewer,
} from './make-transfer.ts';

const WEEK_MS = 7 * 24 * 3600 * 1000;
const ROOMY = { transfers: 1000, segments: 1_000_000, ms: WEEK_MS };
const DEVICES = [makeDevice({ name: 'dax0.0' }), makeDevice({ name: 'dax1.0' })] as const;

const makeHistory = (
  answered: FinishedLimits,
  forgotten: string[] = [],
  accepted202: FinishedLimits = answered,
) => new History({ answered, accepted202 }, CLOCK, ({ id }) => forgotten.push(id));

const list = (history: History, query: Record<string, unknown> = {}, client = 'anna') =>
  history.page(transferListQuerySchema.parse(query), viewer(client));

/** All pages, one after the other. */
async function walk(
  history: History,
  query: Record<string, unknown>,
  client = 'anna',
): Promise<Transfer[]> {
  const all: Transfer[] = [];
  let token = '';
  do {
    const page = await list(history, { ...query, ...(token && { page_token: token }) }, client);
    all.push(...page.transfers);
    token = page.nextPageToken;
  } while (token !== '');
  return all;
}

function add(history: History, transfer: Transfer, hold = false): Transfer {
  history.add(transfer, hold);
  return transfer;
}

function end(history: History, transfer: Transfer, status: End = 'succeeded') {
  transfer.finish({ ...transfer.outcome(undefined, undefined), status });
  history.finish(transfer);
  history.mayForget(transfer.id);
}

/** When the first of some transfers was accepted. */
const T0 = Date.parse('2026-11-27T08:00:00Z');

const segments = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ src_offset: i, dst_offset: 4096 + i, size: 1 }));

describe('History', () => {
  test('pages, newest first, hold what matches and nothing else, for any filters', async () => {
    const transfer = fc.record({
      source: fc.constantFrom(...DEVICES),
      destination: fc.constantFrom(...DEVICES),
      engine: fc.constantFrom('cpu' as const, 'dma' as const),
      labels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('', 'x', 'y:z'), {
        maxKeys: 2,
      }),
      status: fc.constantFrom<Status>('queued', 'running', 'succeeded', 'failed', 'cancelled'),
      second: fc.nat(5),
    });
    const time = fc.nat(6).map((second) => new Date(T0 + second * 1000).toISOString());
    const filters = fc.record(
      {
        status: fc.constantFrom(
          ...['queued', 'succeeded', 'interrupted', 'queued,running', 'failed,cancelled'],
          ...['running,succeeded', STATUSES.join(',')],
        ),
        created_after: time,
        created_before: time,
        device_name: fc.constantFrom('dax0.0', '/dev/dax1.0', 'dax9.0'),
        engine: fc.constantFrom('cpu', 'dma'),
        label: fc.constantFrom<string | string[]>('a:x', 'a:', 'b:y:z', ['a:x', 'b:x'], 'c:x'),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(transfer, { maxLength: 25 }),
        filters,
        fc.integer({ min: 1, max: 8 }),
        async (given, query, size) => {
          const history = makeHistory(ROOMY);
          const made = given.map(({ status, second, ...plan }) => {
            const accepted = { elapsedMs: CLOCK.now(), wallMs: T0 + second * 1000 + 0.4 };
            const one = add(
              history,
              new Transfer(uuidv7(), makePlan(plan), makeOrigin(), CLOCK, accepted),
            );
            if (status === 'queued' || status === 'running') one.status = status;
            else end(history, one, status);
            return one;
          });
          const device = query.device_name?.replace('/dev/', '');
          const pairs = [query.label ?? []].flat().map((pair) => {
            const [key = '', ...rest] = pair.split(':');
            return [key, rest.join(':')] as const;
          });
          const expected = made
            .filter(
              ({ status, plan, choice, accepted }) =>
                (query.status === undefined || query.status.split(',').includes(status)) &&
                (query.created_after === undefined ||
                  accepted.wallMs >= Date.parse(query.created_after)) &&
                (query.created_before === undefined ||
                  Math.floor(accepted.wallMs) < Date.parse(query.created_before)) &&
                (query.engine === undefined || choice.engine === query.engine) &&
                (device === undefined ||
                  [plan.source.name, plan.destination.name].includes(device)) &&
                pairs.every(([key, value]) => plan.labels[key] === value),
            )
            .reverse();
          const found = await walk(history, { ...query, page_size: String(size) });
          assert.deepEqual(
            found.map(({ id }) => id),
            expected.map(({ id }) => id),
          );
          const first = await list(history, { ...query, page_size: String(size) });
          assert.equal(first.transfers.length, Math.min(size, expected.length));
          assert.equal(first.nextPageToken !== '', expected.length > size);
        },
      ),
      { numRuns: runs(300) },
    );
  });

  test('a page is not disturbed by what comes and goes between pages', async () => {
    const history = makeHistory({ transfers: 2, segments: 100, ms: WEEK_MS });
    const made = Array.from({ length: 6 }, () => add(history, makeTransfer()));
    const first = await list(history, { page_size: '3' });
    expect(first.transfers).toEqual([made[5], made[4], made[3]]);
    add(history, makeTransfer());
    // The last of the first page, which the token names, and older ones are forgotten.
    for (const index of [3, 1, 0, 4]) end(history, made[index] as Transfer);
    expect(history.get(made[3]?.id ?? '')).toBeUndefined();
    const second = await list(history, { page_size: '3', page_token: first.nextPageToken });
    expect(second).toEqual({ transfers: [made[2], made[0]], nextPageToken: '' });
  });

  test('a token is good for the filters it was made with, whatever the page size', async () => {
    const history = makeHistory(ROOMY);
    for (let i = 0; i < 5; i++) add(history, makeTransfer({ labels: { a: 'x' } }));
    const query = { label: 'a:x', status: 'queued' };
    const { nextPageToken } = await list(history, { ...query, page_size: '2' });
    expect(nextPageToken).not.toBe('');
    const next = await list(history, { ...query, page_size: '10', page_token: nextPageToken });
    expect(next.transfers).toHaveLength(3);
    for (const other of [
      {},
      { status: 'queued' },
      { label: 'a:x' },
      { ...query, engine: 'cpu' },
      { ...query, status: 'running' },
      { ...query, created_after: '2026-11-27T08:00:00Z' },
      { ...query, created_before: '2126-11-27T08:00:00Z' },
      { ...query, device_name: 'dax0.0' },
      { ...query, label: ['a:x', 'a:x'] },
    ]) {
      await expect(list(history, { ...other, page_token: nextPageToken })).rejects.toThrow(
        expect.objectContaining({
          code: 'invalid_request',
          options: { errors: [{ pointer: '/page_token', detail: expect.any(String) }] },
        }),
      );
    }
  });

  test('a token that was made up is refused', async () => {
    const history = makeHistory(ROOMY);
    add(history, makeTransfer());
    const valid = (await list(history, { page_size: '1' })).nextPageToken;
    expect(valid).toBe('');
    const forged = Buffer.from('abcdefghijkl.00000000-0000-7000-8000-000000000000');
    for (const token of ['x', 'é', forged.toString('base64url'), 'A'.repeat(10_000)]) {
      await expect(list(history, { page_token: token })).rejects.toThrow(
        expect.objectContaining({ code: 'invalid_request' }),
      );
    }
    // An empty one is that of the last page before: the first page again.
    expect((await list(history, { page_token: '' })).transfers).toHaveLength(1);
  });

  test('a page ends before it has too many segments, but has one transfer at least', async () => {
    const history = makeHistory(ROOMY);
    const large = segments(4096);
    for (let i = 0; i < 20; i++) add(history, makeTransfer({ segments: large, segmented: true }));
    const { transfers, nextPageToken } = await list(history, { page_size: '1000' });
    expect(transfers).toHaveLength(16);
    expect(nextPageToken).not.toBe('');
    expect(await walk(history, { page_size: '1000' })).toHaveLength(20);
  });

  test('a page without segments ends before too many had to be read for it', async () => {
    const history = makeHistory(ROOMY);
    const large = segments(4096);
    for (let i = 0; i < 20; i++) {
      end(history, add(history, makeTransfer({ segments: large, segmented: true })));
    }
    const query = { page_size: '1000', view: 'basic' };
    expect((await list(history, query)).transfers).toHaveLength(16);
    expect(await walk(history, query)).toHaveLength(20);
  });

  test('keeps the last to finish, as many as may be, and all that are not over', () => {
    const history = makeHistory({ transfers: 3, segments: 1000, ms: WEEK_MS });
    const running = add(history, makeTransfer());
    const made = Array.from({ length: 5 }, () => add(history, makeTransfer()));
    // In another order than they were made.
    for (const index of [4, 0, 3, 1, 2]) end(history, made[index] as Transfer);
    const kept = made.map(({ id }) => history.get(id) !== undefined);
    expect(kept).toEqual([false, true, true, true, false]);
    expect(history.get(running.id)).toBe(running);
  });

  test('keeps those whose clients may come back for their ends apart from the others', () => {
    const history = makeHistory({ ...ROOMY, transfers: 2 }, [], { ...ROOMY, transfers: 4 });
    const make = (acknowledged: boolean) =>
      Array.from({ length: 5 }, () => {
        const transfer = add(history, makeTransfer());
        transfer.acknowledged = acknowledged;
        return transfer;
      });
    const [acknowledged, told] = [make(true), make(false)];
    for (const transfer of [...acknowledged, ...told]) end(history, transfer);
    const kept = (all: Transfer[]) => all.map(({ id }) => history.get(id) !== undefined);
    expect(kept(acknowledged)).toEqual([false, true, true, true, true]);
    expect(kept(told)).toEqual([false, false, false, true, true]);
  });

  test('keeps what is young enough, and says what it forgets', async () => {
    const forgotten: string[] = [];
    const history = makeHistory({ ...ROOMY, ms: 60_000 }, forgotten);
    const ended = (agoMs: number) => {
      const accepted = acceptedAgo(agoMs);
      const transfer = new Transfer(uuidv7(), makePlan(), makeOrigin(), CLOCK, accepted);
      transfer.finish({ ...transfer.outcome(undefined, undefined), finishedNs: 0 });
      history.add(transfer, false);
      history.finish(transfer);
      history.mayForget(transfer.id);
      return transfer;
    };
    const old = ended(120_000);
    const young = ended(30_000);
    const running = add(history, makeTransfer());
    expect(forgotten).toEqual([old.id]);
    history.forgetOld();
    expect((await list(history)).transfers).toEqual(expect.arrayContaining([young, running]));
    expect(history.get(old.id)).toBeUndefined();
  });

  test('keeps as many segments as may be', async () => {
    const history = makeHistory({ transfers: 100, segments: 10, ms: WEEK_MS });
    const counts = [4, 4, 4, 10, 1];
    const kept = counts.map((count) => {
      const transfer = add(history, makeTransfer({ segments: segments(count) }));
      end(history, transfer);
      return () => history.get(transfer.id) !== undefined;
    });
    expect(kept.map((is) => is())).toEqual([false, false, false, false, true]);
    end(history, add(history, makeTransfer({ segments: segments(9) })));
    expect(kept.map((is) => is())).toEqual([false, false, false, false, true]);
    end(history, add(history, makeTransfer({ segments: segments(1) })));
    expect(kept.map((is) => is())).toEqual([false, false, false, false, false]);
    expect((await list(history)).transfers).toHaveLength(2);
  });

  test("one client's flood pushes out its own, and nobody else's", async () => {
    const history = makeHistory({ transfers: 10, segments: 100, ms: WEEK_MS });
    const endOf = (client: string, count = 1) => {
      const plan = makePlan({ segments: segments(count) });
      const transfer = new Transfer(uuidv7(), plan, makeOrigin(undefined, client), CLOCK);
      end(history, add(history, transfer));
      return () => history.get(transfer.id) !== undefined;
    };
    const others = [endOf('bert'), endOf('bert', 30), endOf('carl')];
    const flood = Array.from({ length: 20 }, () => endOf('anna'));
    expect(others.map((is) => is())).toEqual([true, true, true]);
    expect(flood.map((is) => is())).toEqual([...Array(13).fill(false), ...Array(7).fill(true)]);
    // Of segments bert has most then.
    endOf('bert', 60);
    endOf('anna', 20);
    expect(others.map((is) => is())).toEqual([false, false, true]);
    expect((await list(history)).transfers).toHaveLength(6);
  });

  test('labels count as segments, by what they take', async () => {
    const history = makeHistory({ transfers: 100, segments: 400, ms: WEEK_MS });
    const labels = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`${i}`.padEnd(63, 'k'), 'v'.repeat(255)]),
    );
    for (let i = 0; i < 10; i++) end(history, add(history, makeTransfer({ labels })));
    expect((await list(history)).transfers).toHaveLength(2);
    for (let i = 0; i < 10; i++) end(history, add(history, makeTransfer()));
    expect((await list(history)).transfers).toHaveLength(12);
  });

  test.each([
    ['that a change has replaced', 'v', { labels: {} }],
    ['that JSON makes longer', '\u0001', undefined],
  ])('labels count %s', async (_, character, settings) => {
    const history = makeHistory({ transfers: 100, segments: 400, ms: WEEK_MS });
    const labels = Object.fromEntries(
      Array.from({ length: 4 }, (_, i) => [
        `${i}`,
        character.repeat(character === 'v' ? 900 : 150),
      ]),
    );
    for (let i = 0; i < 10; i++) {
      const transfer = add(history, makeTransfer({ labels }));
      if (settings !== undefined) {
        const { priority, timeoutMs } = transfer.settings;
        transfer.change = { number: 1, settings: { priority, timeoutMs, ...settings } };
      }
      end(history, transfer);
    }
    expect((await list(history)).transfers).toHaveLength(3);
  });

  test('keeps what is held until it is released, finished or not', async () => {
    const history = makeHistory({ transfers: 1, segments: 100, ms: WEEK_MS });
    const held = add(history, makeTransfer(), true);
    const running = add(history, makeTransfer(), true);
    end(history, held);
    for (let i = 0; i < 5; i++) end(history, add(history, makeTransfer()));
    expect(history.get(held.id)).toEqual(held);
    expect((await list(history)).transfers).toContainEqual(held);

    history.release(running.id);
    expect(history.get(running.id)).toBe(running);
    // Only now does it count: the last to come to an end, so to say.
    history.release(held.id);
    expect(history.get(held.id)).toEqual(held);
    history.release(held.id);
    end(history, running);
    expect(history.get(held.id)).toBeUndefined();
    expect(history.get(running.id)).toEqual(running);
  });
});

describe('a list', () => {
  /** @returns how many of them were looked at so far */
  function addLookedAt(history: History, count: number, client: string): () => number {
    let looks = 0;
    for (let i = 0; i < count; i++) {
      const plan = makePlan();
      Object.defineProperty(plan, 'source', {
        get() {
          looks++;
          return DEVICES[0];
        },
      });
      history.add(new Transfer(uuidv7(), plan, makeOrigin(undefined, client), CLOCK), false);
    }
    return () => looks;
  }
  const NOTHING = { device_name: 'dax9.0' };

  test("does not look at other clients' transfers", async () => {
    const history = makeHistory(ROOMY);
    const others = addLookedAt(history, 3000, 'bert');
    const own = addLookedAt(history, 3, 'anna');
    expect((await list(history, NOTHING)).transfers).toEqual([]);
    expect({ others: others(), own: own() }).toEqual({ others: 0, own: 3 });
  });

  test('by status finds what is rare among thousands', async () => {
    const history = makeHistory({ ...ROOMY, transfers: 5000 });
    for (let i = 0; i < 3000; i++) end(history, add(history, makeTransfer()));
    const ends: End[] = ['failed', 'cancelled', 'interrupted'];
    const rare = ends.map((status) => {
      const transfer = add(history, makeTransfer());
      end(history, transfer, status);
      return transfer;
    });
    const queued = add(history, makeTransfer());
    for (const [index, status] of ends.entries()) {
      expect((await list(history, { status })).transfers).toEqual([rare[index]]);
    }
    expect((await list(history, { status: 'queued' })).transfers).toEqual([queued]);
  });

  test('that has much to look at lets other work go on, beside 19 others like it', async () => {
    const history = makeHistory(ROOMY);
    const looks = addLookedAt(history, 20_000, 'anna');
    const lists = Promise.all(Array.from({ length: 20 }, () => list(history, NOTHING)));
    let done = false;
    void lists.then(() => {
      done = true;
    });
    const most = { first: looks(), later: 0 };
    while (!done) {
      const before = looks();
      await nextTurn();
      most.later = Math.max(most.later, looks() - before);
    }
    expect(looks()).toBe(20 * 20_000);
    expect(most.first).toBe(20 * 1000);
    expect(most.later).toBeLessThanOrEqual(2000);
    for (const page of await lists) expect(page).toEqual({ transfers: [], nextPageToken: '' });
  });

  test('by label of those with much JSON goes on for a few of them at a time', async () => {
    const history = makeHistory(ROOMY);
    const labels = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`${i}`, '\u0001'.repeat(255)]),
    );
    for (let i = 0; i < 100; i++) end(history, add(history, makeTransfer({ labels })));
    let done = false;
    const page = list(history, { label: 'a:x' }).finally(() => {
      done = true;
    });
    let turns = 0;
    for (; !done; turns++) await nextTurn();
    expect(await page).toEqual({ transfers: [], nextPageToken: '' });
    // 25 KB each.
    expect(turns).toBeGreaterThanOrEqual(9);
  });

  test('finds what lies far back, though transfers come and are forgotten meanwhile', async () => {
    const history = makeHistory({ ...ROOMY, transfers: 4000 });
    const wanted = add(history, makeTransfer({ labels: { a: 'x' } }));
    const made = Array.from({ length: 3500 }, () => add(history, makeTransfer()));
    const page = list(history, { label: 'a:x' });
    for (const transfer of made.slice(0, 3000)) end(history, transfer);
    for (let i = 0; i < 2000; i++) end(history, add(history, makeTransfer()));
    expect(await page).toEqual({ transfers: [wanted], nextPageToken: '' });
  });

  test('that nobody waits for ends', async () => {
    const history = makeHistory(ROOMY);
    const looks = addLookedAt(history, 5000, 'anna');
    await history.page(transferListQuerySchema.parse(NOTHING), viewer('anna'), () => true);
    expect(looks()).toBe(1000);
  });

  test('has what a plain list of all would have, whatever happened', async () => {
    const clients = ['anna', 'bert'];
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), client: fc.constantFrom(...clients) }),
      fc.record({ kind: fc.constant('start' as const), which: fc.nat(30) }),
      fc.record({
        kind: fc.constant('end' as const),
        which: fc.nat(30),
        status: fc.constantFrom<End>('succeeded', 'failed', 'cancelled', 'interrupted'),
      }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.option(fc.constantFrom<Status>(...STATUSES), { nil: undefined }),
        fc.integer({ min: 1, max: 5 }),
        async (steps, status, size) => {
          const kept = 4;
          const history = makeHistory({ ...ROOMY, transfers: kept });
          const all: Transfer[] = [];
          const ended: Transfer[] = [];
          for (const one of steps) {
            if (one.kind === 'add') {
              const origin = makeOrigin(undefined, one.client);
              all.push(add(history, new Transfer(uuidv7(), makePlan(), origin, CLOCK)));
              continue;
            }
            const transfer = all[one.which];
            if (transfer === undefined || transfer.finished) continue;
            if (one.kind === 'start') {
              transfer.status = 'running';
            } else {
              end(history, transfer, one.status);
              ended.push(transfer);
              // The client that has most loses its oldest; of two that have as much, the first.
              if (ended.length <= kept) continue;
              const amounts = new Map<string, number>();
              for (const { origin } of ended) {
                amounts.set(origin.client, (amounts.get(origin.client) ?? 0) + 1);
              }
              const [loser] = [...amounts].sort((a, b) => b[1] - a[1])[0] ?? [];
              const gone = ended.findIndex(({ origin }) => origin.client === loser);
              all.splice(all.indexOf(ended.splice(gone, 1)[0] as Transfer), 1);
            }
          }
          const query = { page_size: String(size), ...(status && { status }) };
          for (const client of clients) {
            const expected = all
              .filter((one) => one.origin.client === client)
              .filter((one) => status === undefined || one.status === status)
              .reverse();
            const found = await walk(history, query, client);
            assert.deepEqual(
              found.map(({ id }) => id),
              expected.map(({ id }) => id),
            );
          }
        },
      ),
      { numRuns: runs(300) },
    );
  });
});

describe('transferListQuerySchema', () => {
  const read = (query: Record<string, unknown>) => transferListQuerySchema.safeParse(query);

  test.each([
    ['1', 1],
    ['007', 7],
    ['1000', 1000],
    ['1001', 1000],
    ['9'.repeat(400), 1000],
    [undefined, 50],
  ])('page_size %p is %p', (given, expected) => {
    expect(read({ page_size: given }).data?.page_size).toBe(expected);
  });

  test.each([
    ...['0', '00', '-1', '+1', '1.0', '1e3', '', ' 1', '0x10', ['1', '2']].map((page_size) => ({
      page_size,
    })),
    { status: 'over' },
    { status: ['queued', 'running'] },
    { status: 'queued,' },
    { status: 'queued,over' },
    { status: '' },
    { created_after: 'yesterday' },
    { created_before: '2026-11-27' },
    { view: 'some' },
    { engine: 'auto' },
    { label: 'a' },
    { label: ':a' },
    { label: ['a:b', 'c'] },
    { label: Array.from({ length: 17 }, () => 'a:b') },
    { page: '1' },
  ])('%j is refused', (query) => {
    expect(read(query).success).toBe(false);
  });
});
