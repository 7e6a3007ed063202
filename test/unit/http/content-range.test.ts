// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readRange } from '../../../services/http/content-range.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';

/** RFC 9110, 14.1.2, spelled out in whole numbers: which bytes, by asking of each one. */
function model(header: string, size: number): 'whole' | 'unsatisfiable' | [number, number] {
  const equals = header.indexOf('=');
  if (equals < 0 || header.slice(0, equals).toLowerCase() !== 'bytes') return 'whole';
  const spec = header.slice(equals + 1);
  const dash = spec.indexOf('-');
  if (dash < 0) return 'whole';
  const [first, last] = [spec.slice(0, dash), spec.slice(dash + 1)];
  if (!/^[0-9]*$/.test(first) || !/^[0-9]*$/.test(last) || first + last === '') return 'whole';
  const total = BigInt(size);
  if (first !== '' && last !== '' && BigInt(last) < BigInt(first)) return 'whole';
  const from = first === '' ? total - BigInt(last) : BigInt(first);
  const to = first === '' || last === '' ? total - 1n : BigInt(last);
  const wanted: number[] = [];
  for (let at = 0; at < size; at++) if (BigInt(at) >= from && BigInt(at) <= to) wanted.push(at);
  const [start] = wanted;
  return start === undefined ? 'unsatisfiable' : [start, wanted.length];
}

function outcome(header: string | undefined, size: number) {
  try {
    const range = readRange(header, size);
    return range === undefined ? 'whole' : [range.offset, range.size];
  } catch (error) {
    expect(error).toBeInstanceOf(Problem);
    expect((error as Problem).code).toBe('range_not_satisfiable');
    expect((error as Problem).options.headers).toEqual({ 'content-range': `bytes */${size}` });
    return 'unsatisfiable';
  }
}

const size = fc.integer({ min: 1, max: 24 });
const position = fc.oneof(
  fc.nat(30).map(String),
  fc.constantFrom('007', '0', '00', '9'.repeat(30)),
);
const spec = fc.oneof(
  fc.tuple(position, position).map(([first, last]) => `${first}-${last}`),
  position.map((first) => `${first}-`),
  position.map((last) => `-${last}`),
  fc.constantFrom('', '-', '0', '--1', '1--2', '-1-', 'a-b', '0-1,3-4', '0-1,', '1.5-2', '０-１'),
  fc.string({ maxLength: 6 }),
);
const header = fc.oneof(
  spec.map((text) => `bytes=${text}`),
  fc
    .tuple(fc.constantFrom('BYTES', 'Bytes', 'items', 'byte', ''), spec)
    .map((parts) => parts.join('=')),
);

describe('readRange', () => {
  test('is what RFC 9110 says of one range', () => {
    fc.assert(
      fc.property(header, size, (text, bytes) => {
        // Space around a header's value is not part of it.
        const expected = model(text.trim(), bytes);
        assert.deepEqual(outcome(text, bytes), expected);
      }),
      { numRuns: runs(3000) },
    );
  });

  const G = 2 ** 30;
  test.each([
    [undefined, 'whole'],
    ['', 'whole'],
    ['bytes=0-0', [0, 1]],
    [`bytes=${G - 1}-`, [G - 1, 1]],
    [`bytes=${G}-`, 'unsatisfiable'],
    [`bytes=${G}-0`, 'whole'],
    [`bytes=0-${'9'.repeat(400)}`, [0, G]],
    [`bytes=${'9'.repeat(400)}-`, 'unsatisfiable'],
    [`bytes=-${'9'.repeat(400)}`, [0, G]],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=-1', [G - 1, 1]],
    ['bytes=0-1,2-3', 'whole'],
    ['bytes=5-2', 'whole'],
    ['bytes 0-1', 'whole'],
    ['octets=0-1', 'whole'],
    ['bytes=0x0-0x1', 'whole'],
  ])('%p of 1 GiB', (text, expected) => {
    expect(outcome(text, G)).toEqual(expected);
  });
});
