// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import type { Access } from '../../../services/daemon/order/precedence.ts';
import type { Ticket } from '../../../services/daemon/order/scheduler.ts';
import type { Work } from '../../../services/daemon/order/work.ts';
import { UPLOAD_LANE } from '../../../services/daemon/order/work-lanes.ts';
import { type NewWork, WorkQueue } from '../../../services/daemon/order/work-queue.ts';
import { cpuClock } from '../../support/cpu-time.ts';

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
      const cpuMs = cpuClock();
      release();
      longestMs = Math.max(longestMs, cpuMs());
      left--;
    }
    await nextTurn();
  }
  expect(longestMs).toBeLessThan(100);
  while (queue.entries > 0) await nextTurn();
});
