// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { UPLOAD_LANE, WorkQueue } from '../../../services/daemon/order/work-queue.ts';

const MANY = 100_000;
const FULL = expect.objectContaining({ code: 'queue_full' });

test('a client may have 100,000 waiting, each of which gets its turn, in order', () => {
  const queue = new WorkQueue({ limitsOf: () => ({}), overloaded: () => false });
  const started: number[] = [];
  const add = (n: number) => {
    const at = (n % 1000) * 4096;
    return queue.add(
      () => started.push(n),
      [
        { device: 1, offset: at, size: 4096, write: false },
        { device: 2, offset: at, size: 4096, write: true },
      ],
      UPLOAD_LANE,
      'client',
      0,
    );
  };
  const all = [{ device: 1, offset: 0, size: MANY * 4096, write: true }];
  const blocker = queue.add(() => {}, all, UPLOAD_LANE, 'client', 0);
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
