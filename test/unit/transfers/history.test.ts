// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import type { FinishedLimits } from '../../../services/daemon/transfers/finished.ts';
import { History } from '../../../services/daemon/transfers/history.ts';
import { type Status, transferListQuerySchema } from '../../../services/daemon/transfers/schema.ts';
import { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import {
  acceptedAgo,
  CLOCK,
  makeDevice,
  makeOrigin,
  makePlan,
  makeTransfer,
} from './make-transfer.ts';

const WEEK_MS = 7 * 24 * 3600 * 1000;
const ROOMY = { transfers: 1000, segments: 1_000_000, ms: WEEK_MS };
const DEVICES = [makeDevice({ name: 'dax0.0' }), makeDevice({ name: 'dax1.0' })] as const;

const makeHistory = (
  told: FinishedLimits,
  forgotten: Transfer[] = [],
  promised: FinishedLimits = told,
) => new History({ told, promised }, (transfer) => forgotten.push(transfer));

const list = (history: History, query: Record<string, unknown> = {}) =>
  history.page(transferListQuerySchema.parse(query), 'anna');

/** All pages, one after the other. */
function walk(history: History, query: Record<string, unknown>): Transfer[] {
  const all: Transfer[] = [];
  let token = '';
  do {
    const page = list(history, { ...query, ...(token && { page_token: token }) });
    all.push(...page.transfers);
    token = page.nextPageToken;
  } while (token !== '');
  return all;
}

function add(history: History, transfer: Transfer, hold = false): Transfer {
  history.add(transfer, hold);
  return transfer;
}

function end(history: History, transfer: Transfer) {
  transfer.finish(transfer.outcome(undefined, undefined));
  history.finish(transfer);
}

const segments = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ src_offset: i, dst_offset: 4096 + i, size: 1 }));

describe('History', () => {
  test('pages, newest first, hold what matches and nothing else, for any filters', () => {
    const transfer = fc.record({
      source: fc.constantFrom(...DEVICES),
      destination: fc.constantFrom(...DEVICES),
      engine: fc.constantFrom('cpu' as const, 'dma' as const),
      labels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('', 'x', 'y:z'), {
        maxKeys: 2,
      }),
      status: fc.constantFrom<Status>('queued', 'running', 'succeeded', 'failed', 'cancelled'),
    });
    const filters = fc.record(
      {
        status: fc.constantFrom('queued', 'succeeded', 'interrupted'),
        device_name: fc.constantFrom('dax0.0', '/dev/dax1.0', 'dax9.0'),
        engine: fc.constantFrom('cpu', 'dma'),
        label: fc.constantFrom<string | string[]>('a:x', 'a:', 'b:y:z', ['a:x', 'b:x'], 'c:x'),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.array(transfer, { maxLength: 25 }),
        filters,
        fc.integer({ min: 1, max: 8 }),
        (given, query, size) => {
          const history = makeHistory(ROOMY);
          const made = given.map(({ status, ...plan }) => {
            const one = add(history, makeTransfer(plan));
            one.status = status;
            return one;
          });
          const device = query.device_name?.replace('/dev/', '');
          const pairs = [query.label ?? []].flat().map((pair) => {
            const [key = '', ...rest] = pair.split(':');
            return [key, rest.join(':')] as const;
          });
          const expected = made
            .filter(
              ({ status, plan, choice }) =>
                (query.status === undefined || status === query.status) &&
                (query.engine === undefined || choice.engine === query.engine) &&
                (device === undefined ||
                  [plan.source.name, plan.destination.name].includes(device)) &&
                pairs.every(([key, value]) => plan.labels[key] === value),
            )
            .reverse();
          const found = walk(history, { ...query, page_size: String(size) });
          assert.deepEqual(
            found.map(({ id }) => id),
            expected.map(({ id }) => id),
          );
          const first = list(history, { ...query, page_size: String(size) });
          assert.equal(first.transfers.length, Math.min(size, expected.length));
          assert.equal(first.nextPageToken !== '', expected.length > size);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a page is not disturbed by what comes and goes between pages', () => {
    const history = makeHistory({ transfers: 2, segments: 100, ms: WEEK_MS });
    const made = Array.from({ length: 6 }, () => add(history, makeTransfer()));
    const first = list(history, { page_size: '3' });
    expect(first.transfers).toEqual([made[5], made[4], made[3]]);
    add(history, makeTransfer());
    // The last of the first page, which the token names, and older ones are forgotten.
    for (const index of [3, 1, 0, 4]) end(history, made[index] as Transfer);
    expect(history.get(made[3]?.id ?? '')).toBeUndefined();
    const second = list(history, { page_size: '3', page_token: first.nextPageToken });
    expect(second).toEqual({ transfers: [made[2], made[0]], nextPageToken: '' });
  });

  test('a token is good for the filters it was made with, whatever the page size', () => {
    const history = makeHistory(ROOMY);
    for (let i = 0; i < 5; i++) add(history, makeTransfer({ labels: { a: 'x' } }));
    const query = { label: 'a:x', status: 'queued' };
    const { nextPageToken } = list(history, { ...query, page_size: '2' });
    expect(nextPageToken).not.toBe('');
    const next = list(history, { ...query, page_size: '10', page_token: nextPageToken });
    expect(next.transfers).toHaveLength(3);
    for (const other of [
      {},
      { status: 'queued' },
      { label: 'a:x' },
      { ...query, engine: 'cpu' },
      { ...query, status: 'running' },
      { ...query, device_name: 'dax0.0' },
      { ...query, label: ['a:x', 'a:x'] },
    ]) {
      expect(() => list(history, { ...other, page_token: nextPageToken })).toThrow(
        expect.objectContaining({
          code: 'invalid_request',
          options: { errors: [{ pointer: '/page_token', detail: expect.any(String) }] },
        }),
      );
    }
  });

  test('a token that was made up is refused', () => {
    const history = makeHistory(ROOMY);
    add(history, makeTransfer());
    const valid = list(history, { page_size: '1' }).nextPageToken;
    expect(valid).toBe('');
    const forged = Buffer.from('abcdefghijkl.00000000-0000-7000-8000-000000000000');
    for (const token of ['x', 'é', forged.toString('base64url'), 'A'.repeat(10_000)]) {
      expect(() => list(history, { page_token: token })).toThrow(
        expect.objectContaining({ code: 'invalid_request' }),
      );
    }
    // An empty one is that of the last page before: the first page again.
    expect(list(history, { page_token: '' }).transfers).toHaveLength(1);
  });

  test('a page ends before it has too many segments, but has one transfer at least', () => {
    const history = makeHistory(ROOMY);
    const large = segments(4096);
    for (let i = 0; i < 20; i++) add(history, makeTransfer({ segments: large, segmented: true }));
    const { transfers, nextPageToken } = list(history, { page_size: '1000' });
    expect(transfers).toHaveLength(16);
    expect(nextPageToken).not.toBe('');
    expect(walk(history, { page_size: '1000' })).toHaveLength(20);
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
    const make = (promised: boolean) =>
      Array.from({ length: 5 }, () => {
        const transfer = add(history, makeTransfer());
        transfer.promised = promised;
        return transfer;
      });
    const [promised, told] = [make(true), make(false)];
    for (const transfer of [...promised, ...told]) end(history, transfer);
    const kept = (all: Transfer[]) => all.map(({ id }) => history.get(id) !== undefined);
    expect(kept(promised)).toEqual([false, true, true, true, true]);
    expect(kept(told)).toEqual([false, false, false, true, true]);
  });

  test('keeps what is young enough, and says what it forgets', () => {
    const forgotten: Transfer[] = [];
    const history = makeHistory({ ...ROOMY, ms: 60_000 }, forgotten);
    const ended = (agoMs: number) => {
      const accepted = acceptedAgo(agoMs);
      const transfer = new Transfer(uuidv7(), makePlan(), makeOrigin(), CLOCK, accepted);
      transfer.finish({ ...transfer.outcome(undefined, undefined), finishedNs: 0 });
      history.add(transfer, false);
      history.finish(transfer);
      return transfer;
    };
    const old = ended(120_000);
    const young = ended(30_000);
    const running = add(history, makeTransfer());
    expect(forgotten).toEqual([old]);
    history.forgetOld();
    expect(list(history).transfers).toEqual(expect.arrayContaining([young, running]));
    expect(history.get(old.id)).toBeUndefined();
  });

  test('keeps as many segments as may be', () => {
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
    expect(list(history).transfers).toHaveLength(2);
  });

  test("one client's flood pushes out its own, and nobody else's", () => {
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
    expect(list(history).transfers).toHaveLength(6);
  });

  test('labels count as segments, by what they take', () => {
    const history = makeHistory({ transfers: 100, segments: 400, ms: WEEK_MS });
    const labels = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`${i}`.padEnd(63, 'k'), 'v'.repeat(255)]),
    );
    for (let i = 0; i < 10; i++) end(history, add(history, makeTransfer({ labels })));
    expect(list(history).transfers).toHaveLength(2);
    for (let i = 0; i < 10; i++) end(history, add(history, makeTransfer()));
    expect(list(history).transfers).toHaveLength(12);
  });

  test('keeps what is held until it is let go, over or not', () => {
    const history = makeHistory({ transfers: 1, segments: 100, ms: WEEK_MS });
    const held = add(history, makeTransfer(), true);
    const running = add(history, makeTransfer(), true);
    end(history, held);
    for (let i = 0; i < 5; i++) end(history, add(history, makeTransfer()));
    expect(history.get(held.id)).toBe(held);
    expect(list(history).transfers).toContain(held);

    history.release(running);
    expect(history.get(running.id)).toBe(running);
    // Only now does it count: the last to come to an end, so to say.
    history.release(held);
    expect(history.get(held.id)).toBe(held);
    history.release(held);
    end(history, running);
    expect(history.get(held.id)).toBeUndefined();
    expect(history.get(running.id)).toBe(running);
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
