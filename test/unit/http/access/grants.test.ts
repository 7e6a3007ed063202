// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Grant, Grants } from '../../../../services/http/access/grants.ts';
import { runs } from '../../../support/depth.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const NO_DEVICE = () => undefined;

describe('Grants', () => {
  test('tells what of a range may be read', () => {
    const ranges = [
      { offset: 100, size: 100 },
      { offset: 150, size: 150 },
      { offset: 400, size: 100 },
    ];
    const grants = new Grants([{ name: 'dax0.0', ranges, access: 'ro' }], NO_DEVICE);
    expect(grants.readableIn('dax0.0', { offset: 0, size: 1000 })).toEqual([
      { offset: 100, size: 200 },
      { offset: 400, size: 100 },
    ]);
    expect(grants.readableIn('dax0.0', { offset: 120, size: 10 })).toEqual([
      { offset: 120, size: 10 },
    ]);
    expect(grants.readableIn('dax0.0', { offset: 300, size: 100 })).toEqual([]);
    expect(grants.readableIn('dax1.0', { offset: 0, size: 1000 })).toEqual([]);
  });

  test('nothing is granted that is not said', () => {
    const grants = new Grants([{ name: 'dax0.0', access: 'ro' }], NO_DEVICE);
    expect(grants.knows('dax1.0')).toBe(false);
    expect(grants.allow('dax1.0', { offset: 0, size: 1 }, false)).toBe(false);
    expect(grants.allow('dax0.0', { offset: 0, size: 1 }, true)).toBe(false);
    expect(grants.allow('dax0.0', { offset: MAX, size: MAX }, false)).toBe(true);
    expect(new Grants([], NO_DEVICE).knows('dax0.0')).toBe(false);
    const none = new Grants([{ name: 'dax0.0', ranges: [], access: 'rw' }], NO_DEVICE);
    expect(none.allow('dax0.0', { offset: 0, size: 0 }, false)).toBe(false);
  });

  test('large offsets and sizes lose no digit', () => {
    const ranges = [{ offset: MAX - 10, size: 10 }];
    const grants = new Grants([{ name: 'dax0.0', ranges, access: 'rw' }], NO_DEVICE);
    expect(grants.allow('dax0.0', { offset: MAX - 10, size: 10 }, true)).toBe(true);
    expect(grants.allow('dax0.0', { offset: MAX - 10, size: 11 }, true)).toBe(false);
    expect(grants.allow('dax0.0', { offset: MAX - 9, size: MAX }, true)).toBe(false);
    expect(grants.allow('dax0.0', { offset: MAX - 11, size: 1 }, true)).toBe(false);
    expect(grants.allow('dax0.0', { offset: MAX, size: 1 }, true)).toBe(false);
  });

  describe('for one device of a name', () => {
    const A = { uuid: '9fb5dd70-c631-4a13-becb-7fd18b56ae49', resource: 0x1000 };
    const B = { uuid: 'bfb29b10-119c-495d-ba82-0010311def6d', resource: 0x2000 };
    const name = 'dax0.0';
    const byte = { offset: 0, size: 1 };

    test.each([{ uuid: A.uuid }, { resource: A.resource }, { uuid: A.uuid, resource: A.resource }])(
      '%j do not apply to another one, nor to one that is not known',
      (known) => {
        const grant: Grant = { name, ...known, access: 'rw' };
        expect(new Grants([grant], () => A).allow(name, byte, true)).toBe(true);
        expect(new Grants([grant], () => A).knows(name)).toBe(true);
        for (const other of [B, { uuid: null, resource: null }, undefined]) {
          const grants = new Grants([grant], () => other);
          expect(grants.allow(name, byte, false)).toBe(false);
          expect(grants.allow(name, { offset: 0, size: 0 }, false)).toBe(false);
          expect(grants.knows(name)).toBe(false);
        }
      },
    );

    test('end when another device takes the name, and are back when it is', () => {
      let there = A;
      const grants = new Grants([{ name, uuid: A.uuid, access: 'rw' }], () => there);
      expect(grants.allow(name, byte, true)).toBe(true);
      there = B;
      expect(grants.allow(name, byte, true)).toBe(false);
      there = A;
      expect(grants.allow(name, byte, true)).toBe(true);
    });

    test('leave alone what is granted of any device of the name', () => {
      const grants = (device: typeof A) =>
        new Grants(
          [
            { name, uuid: A.uuid, access: 'rw' },
            { name, access: 'ro' },
          ],
          () => device,
        );
      expect(grants(A).allow(name, byte, true)).toBe(true);
      expect(grants(B).allow(name, byte, true)).toBe(false);
      expect(grants(B).allow(name, byte, false)).toBe(true);
    });
  });

  const NAMES = ['dax0.0', 'dax1.0', 'dax2.0'];
  const BYTES = 24;
  const grant = fc.record({
    name: fc.constantFrom(...NAMES),
    ranges: fc.option(
      fc.array(fc.record({ offset: fc.nat(BYTES), size: fc.integer({ min: 1, max: 8 }) }), {
        maxLength: 4,
      }),
      { nil: undefined, freq: 4 },
    ),
    access: fc.constantFrom<'ro' | 'rw'>('ro', 'rw'),
  });

  /** Byte by byte: what the grants say, and nothing else. */
  function allowed(grants: readonly Grant[], device: string, byte: number, write: boolean) {
    return grants.some(
      ({ name, ranges, access }) =>
        name === device &&
        (access === 'rw' || !write) &&
        (ranges ?? [{ offset: 0, size: MAX }]).some(
          ({ offset, size }) => offset <= byte && byte < offset + size,
        ),
    );
  }

  test('a range is allowed where each of its bytes is', () => {
    fc.assert(
      fc.property(
        fc.array(grant, { maxLength: 6 }),
        fc.constantFrom(...NAMES),
        fc.nat(BYTES + 8),
        fc.integer({ min: 1, max: 16 }),
        fc.boolean(),
        (grants, device, offset, size, write) => {
          const bytes = Array.from({ length: size }, (_, index) => offset + index);
          expect(new Grants(grants, NO_DEVICE).allow(device, { offset, size }, write)).toBe(
            bytes.every((byte) => allowed(grants, device, byte, write)),
          );
        },
      ),
      { numRuns: runs(5000) },
    );
  });
});
