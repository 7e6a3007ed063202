// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import type { Segment } from '../../../services/base/segments.ts';
import { ConsistencyMap } from '../../../services/daemon/replication/consistency.ts';
import type { Replication } from '../../../services/daemon/replication/replication.ts';
import { writingOf } from '../../../services/daemon/transfers/writing.ts';
import { makeDevice, makePlan } from '../transfers/make-transfer.ts';

const source = makeDevice({ name: 'dax0.0', identity: 'source' });
const destination = makeDevice({ name: 'dax1.0', identity: 'destination' });

function replicationInto(device: typeof source, dst_offset: number, size: number): Replication {
  return {
    ...{ id: '01', destination: device, request: { dst_offset, size } },
    progress: { consistency: 'inconsistent' },
  } as Replication;
}

const writing = (segments: Segment[]) =>
  writingOf({ id: '02', plan: makePlan({ source, destination, segments }) });

/** Segments of 10 bytes that lie one behind the other on both sides. */
const SIDE_BY_SIDE: Segment[] = Array.from({ length: 6 }, (_, index) => ({
  ...{ src_offset: index * 10, dst_offset: 100 + index * 10, size: 10 },
}));

test('of segments side by side, those are marked that copy inconsistent bytes, as one range', () => {
  const map = new ConsistencyMap(() => {});
  map.note(replicationInto(source, 20, 15));
  const marks = map.marksOf(writing(SIDE_BY_SIDE));
  expect(marks.map(({ ranges }) => ranges)).toEqual([[{ offset: 120, size: 20 }]]);
});

test('nobody asks for the ranges of a copy while all bytes are consistent', () => {
  const map = new ConsistencyMap(() => {});
  const ranges = { get: () => expect(0).toBe('never asked for') };
  const copy = Object.defineProperty(writing(SIDE_BY_SIDE), 'ranges', ranges);
  expect(map.marksOf(copy)).toEqual([]);
  map.written(Object.assign(copy, { flush: true }));
  map.note(replicationInto(source, 20, 15));
  expect(() => map.marksOf(copy)).toThrow('never asked for');
});

test('of segments side by side, those make consistent what they write that copy consistent bytes', () => {
  const map = new ConsistencyMap(() => {});
  map.note(replicationInto(destination, 100, 60));
  map.note(replicationInto(source, 20, 15));
  map.written(Object.assign(writing(SIDE_BY_SIDE), { flush: true }));
  expect(map.of(destination).map(({ offset, size }) => ({ offset, size }))).toEqual([
    { offset: 120, size: 20 },
  ]);
});
