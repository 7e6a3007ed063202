// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { median, quantile, repeat, rowOf } from '../../bench/figures.ts';

const figures = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 });

describe('quantile', () => {
  test('has at least its share of the values on either side', () => {
    fc.assert(
      fc.property(figures, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const at = quantile(values, q);
        const slack = 1e-6 * Math.abs(at);
        const below = values.filter((value) => value <= at + slack).length;
        const above = values.filter((value) => value >= at - slack).length;
        expect(below).toBeGreaterThanOrEqual(Math.floor(q * (values.length - 1)) + 1);
        expect(above).toBeGreaterThanOrEqual(values.length - Math.ceil(q * (values.length - 1)));
      }),
    );
  });

  test('of known values', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(quantile([5, 1, 2, 3, 4], 0.25)).toBe(2);
    expect(quantile([7], 0.99)).toBe(7);
  });
});

test('repeats take turns at being first, and keep what belongs together', async () => {
  const order: string[] = [];
  let clock = 0;
  const measure = (name: string) => async () => {
    order.push(name);
    return ++clock;
  };
  const pairs = await repeat(3, measure('ours'), measure('peer'));
  expect(order).toEqual(['ours', 'peer', 'peer', 'ours', 'ours', 'peer']);
  expect(pairs).toEqual([
    { value: 1, peer: 2 },
    { value: 4, peer: 3 },
    { value: 5, peer: 6 },
  ]);
});

test('a row has the median of the ratios, not the ratio of the medians', () => {
  const pairs = [
    { value: 1, peer: 1 },
    { value: 10, peer: 5 },
    { value: 30, peer: 10 },
  ];
  expect(rowOf('name', 'GB/s', pairs, 'note')).toEqual({
    ...{ name: 'name', unit: 'GB/s', note: 'note' },
    ...{ value: 10, peer: 5, ratio: 2, spread: 1, ratios: [1, 2, 3] },
  });
});
