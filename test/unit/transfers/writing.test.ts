// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import type { Segment } from '../../../services/base/segments.ts';
import { writingOf } from '../../../services/daemon/transfers/writing.ts';
import { makePlan } from './make-transfer.ts';

const segment = (src_offset: number, dst_offset: number, size: number): Segment => ({
  ...{ src_offset, dst_offset, size },
});

test('what a copy writes: each of its segments, with where it reads', () => {
  const plan = makePlan({ segments: [segment(0, 100, 10), segment(10, 110, 20)] });
  const writing = writingOf({ id: 'a', plan });
  expect(writing.device).toBe(plan.destination);
  expect(writing.copy).toEqual({ id: 'a', source: plan.source });
  expect(writing.ranges).toEqual([
    { sourceOffset: 0, offset: 100, size: 10 },
    { sourceOffset: 10, offset: 110, size: 20 },
  ]);
});

test('what a fill writes: segments that lie one behind the other are one range', () => {
  const segments = [segment(0, 100, 10), segment(0, 110, 10), segment(0, 130, 5)];
  const plan = makePlan({ operation: 'fill', pattern: '00', segments });
  const writing = writingOf({ id: 'a', plan });
  expect(writing.device).toBe(plan.destination);
  expect(writing.copy).toBeUndefined();
  expect(writing.ranges).toEqual([
    { offset: 100, size: 20 },
    { offset: 130, size: 5 },
  ]);
});
