// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Budget } from '../../../services/daemon/order/budget.ts';
import { runs } from '../../support/depth.ts';

const BURST_MS = 50;
/** Bytes a second; a byte a millisecond for each thousand. */
const RATE = 100_000;

/** A lane that always has another operation of that size. */
interface Flow {
  lane: number;
  size: number;
}

/** Starts whatever is paid for, for so long. @returns bytes that each flow started */
function run(budget: Budget, flows: readonly Flow[], ms: number, late: (turn: number) => number) {
  const started = flows.map(() => 0);
  for (const { lane, size } of flows) budget.want(lane, size);
  for (let now = 0, turn = 0; now < ms; turn++) {
    budget.advance(now);
    for (const [index, { lane, size }] of flows.entries()) {
      while (budget.paid(lane)) {
        budget.spend(lane);
        started[index] = (started[index] as number) + size;
        budget.want(lane, size);
        budget.advance(now);
      }
    }
    now += Math.max(1, budget.wait) + late(turn);
  }
  return started;
}

describe('Budget', () => {
  test('pays before it starts: a large operation waits for all that it costs', () => {
    const budget = new Budget(RATE, [1], 0);
    budget.want(0, 1_000_000);
    budget.advance(0);
    expect(budget.wait).toBeCloseTo(10_000 - BURST_MS);
    budget.advance(9_949);
    expect(budget.paid(0)).toBe(false);
    budget.advance(9_951);
    expect(budget.paid(0)).toBe(true);
    expect(budget.wait).toBe(Number.POSITIVE_INFINITY);
  });

  test('idle, it puts by 50 ms and no more', () => {
    const budget = new Budget(RATE, [1], 0);
    budget.advance(3_600_000);
    budget.want(0, 5_000);
    budget.advance(3_600_000);
    expect(budget.paid(0)).toBe(true);
    budget.spend(0);
    budget.want(0, 1);
    budget.advance(3_600_000);
    expect(budget.paid(0)).toBe(false);
  });

  test('what was put by for an operation that is gone goes to the next', () => {
    const budget = new Budget(RATE, [1, 1], 0);
    budget.want(0, 100_000);
    budget.advance(20);
    budget.want(0, 0);
    budget.want(1, 7_000);
    budget.advance(20);
    // 20 ms, and the 50 of the beginning; of which 50 are kept, but these were spoken for.
    expect(budget.paid(1)).toBe(true);
  });

  test('what is owed is paid first', () => {
    const budget = new Budget(RATE, [1], 0);
    expect(budget.charge(5_000, 0)).toBe(0);
    expect(budget.charge(10_000, 0)).toBeCloseTo(100);
    budget.want(0, 1_000);
    budget.advance(99);
    expect(budget.paid(0)).toBe(false);
    expect(budget.wait).toBeCloseTo(11);
    budget.advance(111);
    expect(budget.paid(0)).toBe(true);
  });

  const flow = fc.record({
    lane: fc.constantFrom(0, 1, 2),
    size: fc.integer({ min: 100, max: 200_000 }),
  });

  test('the rate holds within 10 %, whatever the sizes, and though timers are late', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(flow, { selector: ({ lane }) => lane, minLength: 1, maxLength: 3 }),
        fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 5 }),
        (flows, lateness) => {
          const ms = 30_000;
          const started = run(
            new Budget(RATE, [4, 2, 1], 0),
            flows,
            ms,
            (turn) => lateness[turn % lateness.length] as number,
          );
          const total = started.reduce((a, b) => a + b, 0);
          // Never too much, but for the burst; and too little by no more than is being saved for.
          const saving = flows.reduce((sum, { size }) => sum + size, 0);
          expect(total).toBeLessThanOrEqual((RATE * (ms + BURST_MS + 50)) / 1000);
          expect(total + saving).toBeGreaterThanOrEqual((0.9 * RATE * ms) / 1000);
        },
      ),
      { numRuns: runs(50) },
    );
  });

  test('lanes that always want more share by weight, whatever their sizes', () => {
    const flows = [
      { lane: 0, size: 40_000 },
      { lane: 1, size: 100 },
    ];
    const [large = 0, small = 0] = run(new Budget(RATE, [1, 1], 0), flows, 30_000, () => 0);
    expect(large).toBeGreaterThan(0.4 * RATE * 30);
    expect(small).toBeGreaterThan(0.4 * RATE * 30);
  });
});
