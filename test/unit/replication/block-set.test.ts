// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BlockSet, PART_BLOCKS } from '../../../services/daemon/replication/block-set.ts';
import { runs } from '../../support/depth.ts';

const SIZE = 2 * PART_BLOCKS + 77;
const block = fc.oneof(
  fc.integer({ min: 0, max: SIZE - 1 }),
  fc.constantFrom(0, 7, 8, PART_BLOCKS - 1, PART_BLOCKS, 2 * PART_BLOCKS, SIZE - 1),
);

describe('BlockSet', () => {
  test('is as a set of numbers, whatever is done to it, and comes back from its parts', () => {
    const step = fc.oneof(
      fc.record({ is: fc.constant('add' as const), block }),
      fc.record({ is: fc.constant('delete' as const), block }),
      fc.record({ is: fc.constant('save' as const), block }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), block, (steps, other) => {
        const set = new BlockSet(SIZE);
        const model = new Set<number>();
        const journal = new Map<number, string>();
        const save = () => {
          for (const [part, text] of set.takeChanged()) journal.set(part, text);
        };
        for (const { is, block } of steps) {
          if (is === 'add') {
            expect(set.add(block)).toBe(!model.has(block));
            model.add(block);
          } else if (is === 'delete') {
            set.delete(block);
            model.delete(block);
          } else save();
        }
        save();
        const again = new BlockSet(SIZE);
        for (const [part, text] of journal) again.restore(part, text);
        for (const each of [set, again]) {
          expect(each.count).toBe(model.size);
          for (const one of [...model, other]) expect(each.has(one)).toBe(model.has(one));
          const first = Math.max(0, other - 100);
          const within = [...model].filter((one) => one >= first && one < first + 200).length;
          expect(each.countIn(first, Math.min(200, SIZE - first))).toBe(within);
        }
        expect(again.takeChanged().size).toBe(0);
      }),
      { numRuns: runs(400, 20) },
    );
  });

  test('what is missing are runs that cover it, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 70 }),
        fc.array(fc.integer({ min: 0, max: 69 })),
        fc.integer({ min: 1, max: 10 }),
        (size, there, longest) => {
          const set = new BlockSet(size);
          const model = new Set(there.filter((one) => one < size));
          for (const one of model) set.add(one);
          const found = [...set.missing(longest)].flatMap(([first, length]) => {
            expect(length).toBeLessThanOrEqual(longest);
            return Array.from({ length }, (_, index) => first + index);
          });
          const missing = Array.from({ length: size }, (_, one) => one).filter(
            (one) => !model.has(one),
          );
          expect(found).toEqual(missing);
        },
      ),
      { numRuns: runs(1000, 100) },
    );
  });

  test('ignores bits beyond its end, which a journal might have', () => {
    const set = new BlockSet(10);
    set.restore(0, Buffer.alloc(4096, 0xff).toString('base64'));
    expect(set.countIn(0, 10)).toBe(10);
    expect([...set.missing(5)]).toEqual([]);
  });

  test('keeps its count when it forgets which', () => {
    const set = new BlockSet(100);
    for (const one of [1, 2, 50]) set.add(one);
    set.forget();
    expect(set.count).toBe(3);
    expect(set.takeChanged().size).toBe(0);
  });
});
