// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SlotMap, Slots } from '../../../services/base/slots.ts';
import { runs } from '../../support/depth.ts';

test('a map of slots has what a Map has, in its order', () => {
  const key = fc.nat(6);
  const step = fc.oneof(
    fc.record({ set: key, value: fc.string() }),
    fc.record({ remove: key }),
    fc.constant('clear' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const slots = new SlotMap<number, string>();
      const model = new Map<number, string>();
      for (const one of steps) {
        if (one === 'clear') {
          slots.clear();
          model.clear();
        } else if ('set' in one) {
          slots.set(one.set, one.value);
          model.set(one.set, one.value);
        } else {
          assert.equal(slots.delete(one.remove), model.delete(one.remove));
        }
        assert.deepEqual([...slots.entries()], [...model]);
        assert.deepEqual([...slots.values()], [...model.values()]);
        assert.equal(slots.size, model.size);
        for (let n = 0; n < 7; n++) {
          assert.equal(slots.has(n), model.has(n));
          assert.equal(slots.get(n), model.get(n));
        }
      }
    }),
    { numRuns: runs(300) },
  );
});

test('slots are used again, and forget what was in them', () => {
  const slots = new Slots<object>();
  const [one, two] = [{}, {}];
  const first = slots.add(one);
  slots.add(two);
  slots.remove(first);
  expect([...slots]).toEqual([two]);
  expect(slots.get(first)).toBeUndefined();
  expect(slots.add({ third: true })).toBe(first);
  expect(slots.size).toBe(2);
});
