// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Line } from '../../../services/daemon/order/line.ts';
import { runs } from '../../support/depth.ts';

test('a line is as an array from which anything can be taken', () => {
  const steps = fc.array(fc.oneof(fc.constant('add' as const), fc.nat(40)), { maxLength: 300 });
  fc.assert(
    fc.property(steps, (all) => {
      const line = new Line<{ n: number }>();
      const model: { item: { n: number }; place: number }[] = [];
      for (const [n, step] of all.entries()) {
        if (step === 'add') {
          const item = { n };
          model.push({ item, place: line.add(item) });
        } else {
          const [taken] = model.splice(step, 1);
          if (taken !== undefined) line.leave(taken.place);
        }
        expect(line.first).toBe(model[0]?.item);
        expect(line.size).toBe(model.length);
        expect([...line]).toEqual(model.map(({ item }) => item));
      }
    }),
    { numRuns: runs(500) },
  );
});

test('a line of many keeps its order, and begins anew once it is empty', () => {
  const line = new Line<number>();
  for (let round = 0; round < 3; round++) {
    const places = Array.from({ length: 20_000 }, (_, n) => line.add(n));
    for (const [n, place] of places.entries()) {
      expect(line.first).toBe(n);
      line.leave(place);
    }
    expect(line.size).toBe(0);
    expect([...line]).toEqual([]);
  }
});
