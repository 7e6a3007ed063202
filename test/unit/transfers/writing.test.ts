// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import type { Segment } from '../../../services/daemon/engines/records.ts';
import { writingOf } from '../../../services/daemon/transfers/writing.ts';
import { makePlan } from './make-transfer.ts';

const segment = (src_offset: number, dst_offset: number, size: number): Segment => ({
  ...{ src_offset, dst_offset, size },
});

test.each<[string, Segment[], [number, number, number][]]>([
  ['one', [segment(0, 4096, 10)], [[0, 4096, 10]]],
  [
    'those that lie one behind the other on both sides are one range',
    [segment(0, 100, 10), segment(10, 110, 20), segment(30, 130, 5), segment(0, 135, 5)],
    [
      [0, 100, 35],
      [0, 135, 5],
    ],
  ],
  [
    'those that do so on one side are not',
    [segment(0, 100, 10), segment(10, 200, 10), segment(30, 210, 10)],
    [
      [0, 100, 10],
      [10, 200, 10],
      [30, 210, 10],
    ],
  ],
])('what a copy writes: %s', (_what, segments, ranges) => {
  const plan = makePlan({ segments });
  expect(writingOf({ id: 'a', plan })).toEqual({
    device: plan.destination,
    copy: { id: 'a', source: plan.source },
    ranges: ranges.map(([sourceOffset, offset, size]) => ({ sourceOffset, offset, size })),
  });
});

test('what a fill writes has no source', () => {
  const segments = [segment(0, 100, 10), segment(0, 110, 10)];
  const plan = makePlan({ operation: 'fill', pattern: '00', segments });
  expect(writingOf({ id: 'a', plan })).toEqual({
    device: plan.destination,
    ranges: [{ offset: 100, size: 20 }],
  });
});
