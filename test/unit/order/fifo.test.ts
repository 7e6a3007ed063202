// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fifo } from '../../../services/daemon/order/fifo.ts';
import { runs } from '../../support/depth.ts';

test('a queue is as an array from which anything can be taken', () => {
  const item = fc.nat(40);
  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('add' as const), item }),
      fc.record({ kind: fc.constant('delete' as const), item }),
      fc.record({ kind: fc.constant('next' as const), item }),
    ),
    { maxLength: 300 },
  );
  fc.assert(
    fc.property(steps, (all) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      for (const { kind, item: one } of all) {
        if (kind === 'add') {
          fifo.add(one);
          if (!model.includes(one)) model.push(one);
        } else {
          const taken = kind === 'next' ? model[0] : one;
          const at = model.indexOf(taken as number);
          expect(fifo.delete(taken as number)).toBe(at >= 0);
          if (at >= 0) model.splice(at, 1);
        }
        expect(fifo.first).toBe(model[0]);
        expect(fifo.size).toBe(model.length);
        expect([...fifo]).toEqual(model);
      }
    }),
    { numRuns: runs(500) },
  );
});

test('a queue of many keeps its order', () => {
  const fifo = new Fifo<number>();
  for (let n = 0; n < 20_000; n++) fifo.add(n);
  for (let n = 0; n < 20_000; n++) {
    expect(fifo.first).toBe(n);
    fifo.delete(n);
    fifo.add(n + 20_000);
  }
  expect(fifo.first).toBe(20_000);
});
