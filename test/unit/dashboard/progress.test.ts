// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Bandwidth } from '../../../services/dashboard/model/bandwidth.ts';
import {
  addSample,
  rateOf,
  type Sample,
  timeLeft,
} from '../../../services/dashboard/model/rate.ts';
import { windowOf } from '../../../services/dashboard/model/rows.ts';
import { timelineOf } from '../../../services/dashboard/model/timeline.ts';

describe('a rate', () => {
  const steady = (seconds: number, everyMs: number) => {
    let samples: readonly Sample[] = [];
    for (let at = 0; at <= seconds * 1000; at += everyMs) {
      samples = addSample(samples, { at, bytes: at * 1000 });
    }
    return samples;
  };

  test.each([10, 100, 250, 1000])('of a steady copy that is updated every %i ms is right', (ms) => {
    expect(rateOf(steady(10, ms), 10_000)).toBeCloseTo(1e6);
  });

  test('takes no memory, however often it is updated', () => {
    expect(steady(60, 1).length).toBeLessThanOrEqual(16);
  });

  test('falls when nothing comes any more', () => {
    const samples = steady(3, 250);
    expect(rateOf(samples, 30_000)).toBeLessThan(rateOf(samples, 3000) as number);
  });

  test('begins anew when the transfer does', () => {
    const samples = addSample(steady(3, 250), { at: 4000, bytes: 0 });
    expect(samples).toEqual([{ at: 4000, bytes: 0 }]);
    expect(rateOf(samples, 4000)).toBeUndefined();
  });

  test('tells the time that is left', () => {
    expect(timeLeft(100, 50)).toBe(2);
    expect(timeLeft(100, 0)).toBeUndefined();
    expect(timeLeft(100, undefined)).toBeUndefined();
  });
});

describe('a time line', () => {
  const ns = fc.integer({ min: 0, max: 2 ** 40 });

  test('adds up', () => {
    const timings = fc.record({ queue_ns: ns, copy_ns: ns, flush_ns: ns, verify_ns: ns });
    fc.assert(
      fc.property(timings, ns, (phases, between) => {
        const sum = Object.values(phases).reduce((total, each) => total + each, 0);
        const total_ns = sum + between;
        const parts = timelineOf({ timings: { ...phases, total_ns }, status: 'succeeded' });
        expect(parts.reduce((total, part) => total + part.ns, 0)).toBe(total_ns);
        let start = 0;
        for (const part of parts) {
          expect(part.start).toBeCloseTo(start);
          start += part.share;
        }
        if (total_ns > 0) expect(start).toBeCloseTo(1);
      }),
    );
  });

  test('of one that runs ends with what is under way', () => {
    const timings = { queue_ns: 10, copy_ns: 0, flush_ns: 0, verify_ns: 0, total_ns: 100 };
    expect(timelineOf({ timings, status: 'running' })).toEqual([
      { phase: 'queue', ns: 10, start: 0, share: 0.1 },
      { phase: 'running', ns: 90, start: 0.1, share: 0.9 },
    ]);
  });
});

describe('bandwidth over time', () => {
  test('is kept second by second, for a fixed time', () => {
    const bandwidth = new Bandwidth(5, 1000);
    bandwidth.add('cpu', 10, 1500);
    bandwidth.add('cpu', 5, 1900);
    bandwidth.add('dma', 7, 2100);
    expect(bandwidth.columns(['cpu', 'dma'], 3000)).toEqual([
      [-1, 0, 1, 2],
      // Nobody watched before the second 1.
      [null, null, 15, 0],
      [null, null, 0, 7],
    ]);
    expect(bandwidth.columns(['cpu', 'other'], 60_000)).toEqual([
      [56, 57, 58, 59],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
  });
});

describe('a long list', () => {
  test('shows some rows of it, whatever its length', () => {
    const numbers = fc.integer({ min: 0, max: 1e6 });
    fc.assert(
      fc.property(numbers, numbers, (count, scrolled) => {
        const { first, end } = windowOf(count, 44, scrolled, 800);
        expect(first).toBeGreaterThanOrEqual(0);
        expect(end).toBeLessThanOrEqual(count);
        expect(end - first).toBeLessThanOrEqual(34);
        if (scrolled + 800 <= count * 44) {
          expect(first * 44).toBeLessThanOrEqual(scrolled);
          expect(end * 44).toBeGreaterThanOrEqual(scrolled + 800);
        }
      }),
    );
  });
});
