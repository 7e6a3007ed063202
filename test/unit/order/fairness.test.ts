// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Scheduler, type Ticket } from '../../../services/daemon/order/scheduler.ts';

const ROOMY = { operations: 1000, bytes: 2 ** 50, accesses: 1000 };

function scheduler(lanes: number[], maxWaiting = ROOMY, maxWaitingOfOne = ROOMY) {
  return new Scheduler<string>({ lanes, maxWaiting, maxWaitingOfOne, maxEntries: 100_000 });
}

/** An operation on its own bytes. */
let place = 0;
function add(to: Scheduler<string>, client: string, lane = 0, bytes = 1, rate?: number, now = 0) {
  const access = { device: 0, offset: place++ * 2, size: 1, write: true };
  return to.accept(client, [access], lane, { client, bytes, bytesPerSecond: rate }, now);
}

function startAll(of: Scheduler<string>, now = 0): Ticket<string>[] {
  const started: Ticket<string>[] = [];
  for (let next = of.startNext(now); next; next = of.startNext(now)) started.push(next);
  return started;
}

describe('clients', () => {
  test('one that has nothing running starts at once, whatever another has taken', () => {
    const order = scheduler([2]);
    for (let i = 0; i < 100; i++) add(order, 'flood');
    expect(startAll(order)).toHaveLength(2);
    const other = add(order, 'other');
    const second = add(order, 'other');
    expect(startAll(order)).toEqual([other]);
    order.release(other);
    expect(startAll(order)).toEqual([second]);
  });

  test('take turns where slots are short', () => {
    const order = scheduler([1]);
    for (const client of ['a', 'b', 'c']) for (let i = 0; i < 4; i++) add(order, client);
    const turns: string[] = [];
    // Each has one of its own here; what is started next is whose turn it is.
    const running = startAll(order);
    expect(running.map(({ work }) => work)).toEqual(['a', 'b', 'c']);
    for (let i = 0; i < 9; i++) {
      order.release(running.shift() as Ticket<string>);
      const [next] = startAll(order);
      running.push(next as Ticket<string>);
      turns.push((next as Ticket<string>).work);
    }
    expect(turns.join('')).toBe('abcabcabc');
  });

  test('one is full, others are not; one with nothing waiting is let in though all is full', () => {
    const order = scheduler([0], { ...ROOMY, operations: 4 }, { ...ROOMY, operations: 3 });
    for (let i = 0; i < 3; i++) add(order, 'flood');
    expect(order.isFull('flood')).toBe(true);
    expect(order.isFull('other')).toBe(false);
    add(order, 'other');
    expect(order.isFull('other')).toBe(true);
    expect(order.isFull('third')).toBe(false);
  });

  test('bytes and accesses that wait are bounded too', () => {
    const bytes = scheduler([1], ROOMY, { ...ROOMY, bytes: 10 });
    add(bytes, 'a', 0, 9);
    expect(bytes.isFull('a')).toBe(false);
    add(bytes, 'a', 0, 9);
    expect(bytes.isFull('a')).toBe(true);
    startAll(bytes);
    expect(bytes.isFull('a')).toBe(false);
    const accesses = scheduler([0], ROOMY, { ...ROOMY, accesses: 2 });
    add(accesses, 'a');
    expect(accesses.isFull('a')).toBe(false);
    add(accesses, 'a');
    expect(accesses.isFull('a')).toBe(true);
  });

  test('what is open is counted by lane, until it ends or is withdrawn', () => {
    const order = scheduler([1, 1]);
    const accesses = [{ device: 0, offset: 0, size: 1, write: true }];
    const first = order.accept('x', accesses, 0, { client: 'a', bytes: 1 });
    const behind = order.accept('x', accesses, 0, { client: 'a', bytes: 1 });
    add(order, 'a', 1);
    expect([order.openOf('a', 0), order.openOf('a', 1), order.openOf('b', 0)]).toEqual([2, 1, 0]);
    order.release(behind);
    order.release(behind);
    expect(order.openOf('a', 0)).toBe(1);
    startAll(order);
    order.release(first);
    order.release(first);
    expect(order.openOf('a', 0)).toBe(0);
  });
});

describe('a limited rate', () => {
  test('holds a client back, and nobody else', () => {
    const order = scheduler([8]);
    for (let i = 0; i < 3; i++) add(order, 'slow', 0, 1000, 10_000);
    for (let i = 0; i < 3; i++) add(order, 'free', 0, 1000);
    expect(startAll(order, 0).map(({ work }) => work)).toEqual(['free', 'free', 'free']);
    expect(order.wait).toBeCloseTo(50);
    expect(startAll(order, 50)).toHaveLength(1);
    expect(startAll(order, 149)).toHaveLength(0);
    expect(startAll(order, 151)).toHaveLength(1);
    expect(startAll(order, 10_000)).toHaveLength(1);
    expect(order.wait).toBe(Number.POSITIVE_INFINITY);
  });

  test('that changes counts for what waits already', () => {
    const order = scheduler([8]);
    add(order, 'slow', 0, 1_000_000, 1);
    expect(startAll(order, 1000)).toHaveLength(0);
    add(order, 'slow', 0, 1, undefined, 1000);
    expect(startAll(order, 1000)).toHaveLength(2);
  });

  test('one that is withdrawn gives its place to the next', () => {
    const order = scheduler([8]);
    const large = add(order, 'slow', 0, 1_000_000, 10_000);
    const small = add(order, 'slow', 0, 100, 10_000);
    expect(startAll(order, 0)).toEqual([]);
    order.release(large, 0);
    expect(startAll(order, 0)).toEqual([small]);
  });

  test('at no time has more been started than it allows, and all is in the end', () => {
    const operation = fc.record({
      lane: fc.nat(1),
      bytes: fc.nat(5000),
      after: fc.nat(100),
      offset: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 30 }), (operations) => {
        const rate = 10_000;
        const order = scheduler([2, 2]);
        let now = 0;
        let bytes = 0;
        let started = 0;
        const go = () => {
          for (const ticket of startAll(order, now)) {
            bytes += Number(ticket.work);
            started++;
            order.release(ticket, now);
            go();
          }
          expect(bytes).toBeLessThanOrEqual((rate * (now + 50)) / 1000 + 1e-6);
        };
        for (const { lane, bytes: size, after, offset } of operations) {
          now += after;
          const access = { device: 0, offset, size: 1, write: true };
          const share = { client: 'a', bytes: size, bytesPerSecond: rate };
          order.accept(String(size), [access], lane, share, now);
          go();
        }
        for (let turn = 0; started < operations.length; turn++) {
          expect(turn).toBeLessThan(1000);
          // As timers are.
          now += Math.ceil(order.wait);
          go();
        }
      }),
    );
  });
});
