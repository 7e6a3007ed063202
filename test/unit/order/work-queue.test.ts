// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import type { Access } from '../../../services/daemon/order/precedence.ts';
import type { Ticket } from '../../../services/daemon/order/scheduler.ts';
import {
  type NewWork,
  UPLOAD_LANE,
  type Work,
  WorkQueue,
} from '../../../services/daemon/order/work-queue.ts';

const MANY = 100_000;
const PLAIN: NewWork = {
  ...{ kind: 'upload', client: 'client', start: () => {} },
  ...{ accesses: [], lane: UPLOAD_LANE, bytes: 0 },
};
const FULL = expect.objectContaining({ code: 'queue_full' });

test('a client may have 100,000 waiting, each of which gets its turn, in order', () => {
  const queue = new WorkQueue({ limitsOf: () => ({}), overloaded: () => false });
  const started: number[] = [];
  const add = (n: number) => {
    const at = (n % 1000) * 4096;
    return queue.add({
      ...PLAIN,
      start: () => started.push(n),
      accesses: [
        { device: 1, offset: at, size: 4096, write: false },
        { device: 2, offset: at, size: 4096, write: true },
      ],
    });
  };
  const all = [{ device: 1, offset: 0, size: MANY * 4096, write: true }];
  const blocker = queue.add({ ...PLAIN, accesses: all });
  const tickets = Array.from({ length: MANY }, (_, n) => {
    queue.admit('client');
    return add(n);
  });
  expect(() => queue.admit('client')).toThrow(FULL);
  expect(() => queue.admit('another')).not.toThrow();
  expect(started).toEqual([]);

  queue.release(blocker);
  for (let done = 0; done < MANY; done++) {
    const next = started[done] as number;
    queue.release(tickets[next] as (typeof tickets)[number]);
  }
  expect(started).toHaveLength(MANY);
  // Those of one range, one after the other.
  const last = new Map<number, number>();
  const early = started.filter((n) => {
    const before = last.get(n % 1000) ?? -1;
    last.set(n % 1000, n);
    return before > n;
  });
  expect(early).toEqual([]);
});

test('with a small heap, less may wait', () => {
  const range = { device: 1, offset: 0, size: 4096, write: true };
  const queue = new WorkQueue({
    ...{ limitsOf: () => ({}), overloaded: () => false, heapBytes: 384 * 2 ** 20 },
  });
  const admitted = (client: string) => {
    for (let count = 0; ; count++) {
      try {
        queue.admit(client);
      } catch (error) {
        expect(error).toEqual(FULL);
        return count;
      }
      queue.add({ ...PLAIN, client, accesses: [range] });
    }
  };
  // 40 % of it, 7 KiB each, half of them for one client; the first does not wait.
  expect(admitted('one')).toBe(1 + 11_234);
  expect(admitted('another')).toBe(11_234);
});

describe('work in its turn', () => {
  const newQueue = () => new WorkQueue({ limitsOf: () => ({}), overloaded: () => false });
  const range = { device: 1, offset: 0, size: 100 };
  const patient = new AbortController().signal;

  test('waits for what was accepted before, and keeps what comes later waiting', async () => {
    const queue = newQueue();
    const before = queue.add({ ...PLAIN, accesses: [{ ...range, write: true }] });
    const events: string[] = [];
    let finish = () => {};
    const work = queue.inTurn(PLAIN, range, patient, async () => {
      events.push('work');
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return 42;
    });
    const after = [{ ...range, offset: 99, size: 1, write: false }];
    queue.add({ ...PLAIN, start: () => events.push('after'), accesses: after });
    queue.add({
      ...PLAIN,
      start: () => events.push('beside'),
      accesses: [{ ...range, offset: 100, write: true }],
    });
    await nextTurn();
    expect(events).toEqual(['beside']);
    queue.release(before);
    await nextTurn();
    expect(events).toEqual(['beside', 'work']);
    finish();
    expect(await work).toBe(42);
    expect(events).toEqual(['beside', 'work', 'after']);
  });

  test.each(['before', 'while'])('is not begun for one who leaves %s it waits', async (when) => {
    const queue = newQueue();
    const blocker = queue.add({ ...PLAIN, accesses: [{ ...range, write: true }] });
    const left = new AbortController();
    const reason = new Error('gone');
    if (when === 'before') left.abort(reason);
    const work = queue.inTurn(PLAIN, range, left.signal, async () => {
      throw new Error('begun');
    });
    left.abort(reason);
    await expect(work).rejects.toBe(reason);
    queue.release(blocker);
    await queue.close();
  });

  test('lets others go on where it fails', async () => {
    const queue = newQueue();
    const broken = new Error('broken');
    await expect(queue.inTurn(PLAIN, range, patient, () => Promise.reject(broken))).rejects.toBe(
      broken,
    );
    await queue.inTurn(PLAIN, range, patient, async () => {});
    await queue.close();
  });
});

test('what clients may take can change for what is queued, both ways', async () => {
  let bytesPerSecond: number | undefined = 1000;
  const queue = new WorkQueue({ limitsOf: () => ({ bytesPerSecond }), overloaded: () => false });
  const started: number[] = [];
  const add = (n: number, bytes: number) =>
    queue.add({ ...PLAIN, start: () => started.push(n), bytes });
  const setRate = (rate: number | undefined) => {
    bytesPerSecond = rate;
    queue.limitsChanged();
  };
  add(1, 1e6);
  await sleep(50);
  expect(started).toEqual([]);
  setRate(1e9);
  await sleep(50);
  expect(started).toEqual([1]);
  setRate(1000);
  add(2, 1e6);
  await sleep(50);
  expect(started).toEqual([1]);
  setRate(undefined);
  expect(started).toEqual([1, 2]);
  // A limit where there was none.
  setRate(1000);
  add(3, 1e6);
  await sleep(50);
  expect(started).toEqual([1, 2]);
  setRate(undefined);
  expect(started).toEqual([1, 2, 3]);
});

test('bytes that are owed when the rate changes are owed at the new one', () => {
  let bytesPerSecond = 1000;
  const queue = new WorkQueue({ limitsOf: () => ({ bytesPerSecond }), overloaded: () => false });
  const before = queue.pace('client', 1_000_000);
  expect(before).toBeGreaterThan(900_000);
  bytesPerSecond = 1_000_000;
  queue.limitsChanged();
  const after = queue.pace('client', 0);
  expect(after).toBeGreaterThan(900);
  expect(after).toBeLessThan(1000);
  bytesPerSecond = 100;
  queue.limitsChanged();
  expect(queue.pace('client', 0)).toBeGreaterThan(9_000_000);
});

test('thirty fragmented transfers and seven readers of all leave in slices, and are forgotten', async () => {
  const queue = new WorkQueue({ limitsOf: () => ({}), overloaded: () => false });
  const ready: (() => void)[] = [];
  const add = (accesses: Access[]) => {
    const ticket: Ticket<Work> = queue.add({
      ...PLAIN,
      start: () => ready.push(() => queue.release(ticket)),
      accesses,
    });
  };
  const whole = (write: boolean) =>
    [1, 2].map((device) => ({ device, offset: 0, size: 1e9, write }));
  add(whole(true));
  for (let i = 0; i < 30; i++) {
    const at = (k: number) => ({ offset: (k * 30 + i) * 8192, size: 4096 });
    add(
      [false, true].flatMap((write) =>
        Array.from({ length: 4096 }, (_, k) => ({ device: write ? 2 : 1, write, ...at(k) })),
      ),
    );
  }
  for (let i = 0; i < 7; i++) add(whole(false));
  // The readers are one entry each for a device; all else are the transfers' own, and what is between.
  expect(queue.entries).toBeLessThan(620_000);

  let longestMs = 0;
  let left = 38;
  while (left > 0) {
    for (const release of ready.splice(0)) {
      const began = process.cpuUsage();
      release();
      const { user, system } = process.cpuUsage(began);
      longestMs = Math.max(longestMs, (user + system) / 1000);
      left--;
    }
    await nextTurn();
  }
  expect(longestMs).toBeLessThan(100);
  while (queue.entries > 0) await nextTurn();
});
