// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SegmentList } from '../../../services/base/segments.ts';
import { runs } from '../../support/depth.ts';

const segment = fc
  .tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.nat(2 ** 40))
  .map(([src_offset, dst_offset, size]) => ({ src_offset, dst_offset, size }));

test('a list has what it was made of', () => {
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 20 }), fc.nat(2 ** 40), (segments, least) => {
      const list = SegmentList.from(segments);
      assert.equal(list.length, segments.length);
      assert.deepEqual([...list], segments);
      for (const [index, given] of segments.entries()) {
        assert.deepEqual(list.get(index), given);
        assert.equal(list.source(index), given.src_offset);
        assert.equal(list.destination(index), given.dst_offset);
        assert.equal(list.size(index), given.size);
      }
      assert.equal(
        list.bytes,
        segments.reduce((sum, { size }) => sum + size, 0),
      );
      assert.equal(
        list.findIndex((from, to, size) => from < to && size >= least),
        segments.findIndex((given) => given.src_offset < given.dst_offset && given.size >= least),
      );
      assert.deepEqual(SegmentList.of(...segments), list);
      assert.deepEqual(new SegmentList(list.numbers), list);
    }),
    { numRuns: runs(1000) },
  );
});

test('those of a fill have no sources', () => {
  const list = SegmentList.from([{ dst_offset: 7, size: 2 }], false);
  expect(list.hasSources).toBe(false);
  expect(list.get(0)).toEqual({ src_offset: 0, dst_offset: 7, size: 2 });
  expect(SegmentList.of().hasSources).toBe(true);
});
