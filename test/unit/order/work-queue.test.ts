// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { UPLOAD_LANE } from '../../../services/daemon/order/work-lanes.ts';
import { type NewWork, WorkQueue } from '../../../services/daemon/order/work-queue.ts';

const PLAIN: NewWork = {
  ...{ kind: 'upload', client: 'client', start: () => {} },
  ...{ accesses: [], lane: UPLOAD_LANE, bytes: 0 },
};
const FULL = expect.objectContaining({ code: 'queue_full' });

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
