// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Cells } from '../../../services/base/cells.ts';
import { SharedValues } from '../../../services/base/shared-values.ts';
import { runs } from '../../support/depth.ts';

test('cells give back the bytes of each record, however records come and go', () => {
  const step = fc.oneof(
    // Around what one cell, two and three have room for.
    fc.record({
      size: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 300, max: 950 })),
    }),
    fc.record({ remove: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const cells = new Cells();
      const model = new Map<number, Buffer>();
      for (const [index, one] of steps.entries()) {
        if ('size' in one) {
          const bytes = Buffer.alloc(one.size, index);
          const record = cells.add(bytes);
          assert.ok(!model.has(record), 'a record that is there was given away');
          model.set(record, bytes);
        } else {
          const record = [...model.keys()][one.remove % Math.max(1, model.size)];
          if (record === undefined) continue;
          model.delete(record);
          cells.remove(record);
        }
        for (const [record, bytes] of model) {
          assert.ok(cells.get(record).equals(bytes));
          assert.equal(cells.byteAt(record, 0), bytes[0]);
        }
      }
    }),
    { numRuns: runs(300) },
  );
});

test('cells of removed records are used again', () => {
  const cells = new Cells();
  const fill = () => Array.from({ length: 1000 }, (_, i) => cells.add(Buffer.alloc(1 + i)));
  let records = fill();
  const { allocated } = cells;
  for (let round = 0; round < 20; round++) {
    for (const record of records) cells.remove(record);
    records = fill();
  }
  expect(cells.allocated).toBe(allocated);
});

test('a shared value is kept for as long as anybody has it, once', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ value: fc.nat(5), has: fc.boolean() })), (steps) => {
      const values = new SharedValues<string>();
      const held: { value: string; number: number }[] = [];
      for (const { value: n, has } of steps) {
        const value = `value ${n}`;
        if (has) held.push({ value, number: values.acquire(value) });
        const at = held.findIndex((one) => one.value === value);
        if (!has && at >= 0) values.release(held.splice(at, 1)[0]?.number as number);
        for (const one of held) assert.equal(values.get(one.number), one.value);
        assert.equal(values.size, new Set(held.map((one) => one.value)).size);
      }
    }),
    { numRuns: runs(300) },
  );
});
