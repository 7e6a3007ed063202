// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readPrefer } from '../../../services/http/prefer.ts';
import { runs } from '../../support/depth.ts';

const DEFAULT_MS = 10_000;
const read = (header: string | undefined) => readPrefer(header, DEFAULT_MS);
const nothing = { waitMs: DEFAULT_MS, minimal: false, applied: undefined };

/** A preference as it can be spelled, and what of it we understand. */
const spelled = fc
  .tuple(
    fc.oneof(
      fc.nat(90).map((seconds) => ({ name: 'wait', value: String(seconds), seconds })),
      fc.constant({ name: 'respond-async', value: undefined, seconds: undefined }),
      fc.constantFrom(
        { name: 'handling', value: 'lenient', seconds: undefined },
        { name: 'return', value: 'minimal', seconds: undefined },
        { name: 'foo', value: 'a, wait=7, b', seconds: undefined },
        { name: 'foo', value: 'respond-async', seconds: undefined },
        { name: 'foo', value: 'say \\"wait=8\\", wait=9', seconds: undefined },
        { name: 'foo', value: 'a;b', seconds: undefined },
      ),
    ),
    fc.boolean(),
    fc.boolean(),
    fc.constantFrom('', ' ', '\t', '  '),
    fc.constantFrom('', ';x', '; x=1', ' ; x="y"; z', '; x="a, wait=3"', ';'),
  )
  .map(([preference, upper, quoted, space, parameters]) => {
    const { name, value } = preference;
    const mustQuote = value !== undefined && !/^[\w.-]+$/.test(value);
    const written = value === undefined ? '' : quoted || mustQuote ? `="${value}"` : `=${value}`;
    const text = `${space}${upper ? name.toUpperCase() : name}${written}${parameters}${space}`;
    return { ...preference, text };
  });

describe('readPrefer', () => {
  test('takes the first of each preference, among others, however they are spelled', () => {
    fc.assert(
      fc.property(fc.array(spelled, { maxLength: 5 }), (preferences) => {
        const seconds = preferences.find(({ name }) => name === 'wait')?.seconds;
        const async = preferences.some(({ name }) => name === 'respond-async');
        const wait = seconds === undefined ? undefined : Math.min(seconds, 60);
        const applied = [
          ...(async ? ['respond-async'] : []),
          ...(wait === undefined ? [] : [`wait=${wait}`]),
        ];
        assert.deepEqual(read(preferences.map(({ text }) => text).join(',')), {
          minimal: preferences.some(({ name }) => name === 'return'),
          waitMs: wait === undefined ? (async ? 0 : DEFAULT_MS) : wait * 1000,
          applied: applied.length > 0 ? applied.join(', ') : undefined,
        });
      }),
      { numRuns: runs(2000) },
    );
  });

  test('whatever it is given, it waits 0 to 60 s, and throws nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (header) => {
        const { waitMs } = read(header);
        assert.ok(waitMs >= 0 && waitMs <= 60_000);
      }),
      { numRuns: runs(1000) },
    );
  });

  test.each([
    ['wait=0', { minimal: false, waitMs: 0, applied: 'wait=0' }],
    ['wait=5', { minimal: false, waitMs: 5000, applied: 'wait=5' }],
    ['wait=007', { minimal: false, waitMs: 7000, applied: 'wait=7' }],
    ['wait = 5', { minimal: false, waitMs: 5000, applied: 'wait=5' }],
    ['wait="5"', { minimal: false, waitMs: 5000, applied: 'wait=5' }],
    ['WAIT=5', { minimal: false, waitMs: 5000, applied: 'wait=5' }],
    ['wait=60', { minimal: false, waitMs: 60_000, applied: 'wait=60' }],
    ['wait=61', { minimal: false, waitMs: 60_000, applied: 'wait=60' }],
    [`wait=${'9'.repeat(400)}`, { minimal: false, waitMs: 60_000, applied: 'wait=60' }],
    ['respond-async', { minimal: false, waitMs: 0, applied: 'respond-async' }],
    ['Respond-Async', { minimal: false, waitMs: 0, applied: 'respond-async' }],
    // No value and an empty one are the same (RFC 7240, section 2).
    ['respond-async=""', { minimal: false, waitMs: 0, applied: 'respond-async' }],
    ['respond-async=', { minimal: false, waitMs: 0, applied: 'respond-async' }],
    ['respond-async, wait=3', { minimal: false, waitMs: 3000, applied: 'respond-async, wait=3' }],
    ['wait=3, respond-async', { minimal: false, waitMs: 3000, applied: 'respond-async, wait=3' }],
    [', ,wait=3,,', { minimal: false, waitMs: 3000, applied: 'wait=3' }],
    ['wait=3, wait=9', { minimal: false, waitMs: 3000, applied: 'wait=3' }],
    ['wait=3;foo="bar", wait=9', { minimal: false, waitMs: 3000, applied: 'wait=3' }],
    ['foo="x, wait=9", wait=3', { minimal: false, waitMs: 3000, applied: 'wait=3' }],
  ])('%p', (header, expected) => {
    expect(read(header)).toEqual(expected);
  });

  test.each([
    ...[undefined, '', 'wait', 'wait=', 'wait=""', 'wait=-1', 'wait=+1', 'wait=1.5', 'wait=1e1'],
    ...['wait=0x5', 'wait=5s', 'wait=5 6', 'wait=１', 'wait="5', 'wait=5"', 'await=5', 'wait5'],
    ...['respond-async=yes', 'respond-asynchronously', 'x-respond-async', 'foo; wait=5'],
    ...['foo; respond-async', 'foo="wait=5"', 'foo="a, wait=5, b"', 'foo="a, respond-async, b"'],
    'foo="say \\", wait=5, \\""',
  ])('%p means nothing', (header) => {
    expect(read(header)).toEqual(nothing);
  });
});
