// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SegmentList } from '../../../services/base/segments.ts';
import { shownSegments } from '../../../services/daemon/transfers/document.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import {
  parseTransferRequest,
  readManySegments,
} from '../../../services/daemon/transfers/segments-body.ts';
import { parseJson } from '../../../services/http/json-body.ts';
import { runs } from '../../support/depth.ts';

const space = fc.constantFrom('', '', '', '', ' ', '\n', '\t', '\r\n  ', '\v', '\u00a0');
/** A number as JSON has it, or nearly. */
const number = fc.oneof(
  { weight: 20, arbitrary: fc.nat({ max: 1e6 }).map(String) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['0', '-0', '-1', '01', '00', '1.0', '1e3', '1E3', '+1', '', '.5', '1.', '"4KiB"', 'null'],
      ...['9007199254740991', '9007199254740992', '999999999999999', '1000000000000000', 'true'],
      ...['[1]', '{}', '"', '0x10', '1 2', '٣'],
    ),
  },
);
const name = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.constantFrom('"src_offset"', '"dst_offset"', '"size"'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        '"src_offse"',
        '"size',
        'size',
        '"\\u0073ize"',
        '"dst_offset "',
        '"sizes"',
        '"srcXoffset"',
      ],
      ...['"__proto__"', '"src_offXXt"'],
    ),
  },
);

/** Puts texts between brackets, with commas, nearly always right. */
function joined(open: string, close: string, parts: fc.Arbitrary<string[]>): fc.Arbitrary<string> {
  const slip = fc.oneof(
    { weight: 60, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom(',', ']', '}', '"', 'x', '\\') },
  );
  return fc
    .tuple(parts, space, slip)
    .map(([texts, gap, wrong]) => `${open}${gap}${texts.join(`${gap},${gap}`)}${wrong}${close}`);
}

const member = fc
  .tuple(name, space, number, space)
  .map(([key, before, value, behind]) => `${key}${before}:${behind}${value}`);
const right = fc
  .tuple(fc.nat(1e9), fc.nat(1e9), fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 5 }))
  .map(([src, dst, size, order]) => {
    const all = [`"src_offset":${src}`, `"dst_offset":${dst}`, `"size":${size}`];
    if (order === 0) return `{${all.slice(1).join(',')}}`;
    return `{${(order % 2 ? all : all.reverse()).join(', ')}}`;
  });
const segment = fc.oneof(
  { weight: 12, arbitrary: right },
  { weight: 1, arbitrary: joined('{', '}', fc.array(member, { maxLength: 4 })) },
  { weight: 1, arbitrary: fc.constantFrom('7', 'null', '[]', '{}', '""') },
);
const list = joined('[', ']', fc.array(segment, { maxLength: 6 }));
const others = fc.constantFrom(
  ...['"device_name":"dax0.0"', '"device_name":"dax0.0"', '"operation":"fill"', '"size":4'],
  ...['"labels":{"segments":"x"}', '"labels":{"a":"\\"segments\\":[{"}', '"segments":[]'],
  ...['"a\\"segments":[]', '"labels":{"segments":[{"dst_offset":0,"size":1}]}', '"x":"é😀"'],
  ...['"segments":7', '"segment\\u0073":[]', '"__proto__":1', '"dry_run":true', '"x":"\\ud800"'],
);
const body = joined(
  '{',
  '}',
  fc
    .tuple(fc.array(others, { maxLength: 3 }), space, list, fc.array(others, { maxLength: 3 }))
    .map(([before, gap, segments, behind]) => [
      ...before,
      `"segments"${gap}:${gap}${segments}`,
      ...behind,
    ]),
);
const bytes = fc
  .tuple(
    body,
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 1 }),
    fc.integer({ min: 0, max: 9 }),
  )
  .map(([text, changes, chance]) => {
    const changed = Buffer.from(text);
    if (chance === 0) for (const [at, byte] of changes) changed[at % changed.length] = byte;
    return changed;
  });

/** A request with its segments one by one, as JSON has them. */
function plain(request: unknown): unknown {
  const { rest, segments, ...others } = request as {
    rest?: object;
    segments?: unknown;
  };
  if (!(segments instanceof SegmentList)) return request;
  return { ...rest, ...others, segments: shownSegments({ segments }) };
}

/** What a parser gives, or says. */
function outcome(parse: () => unknown): unknown {
  try {
    return { value: plain(parse()) };
  } catch (error) {
    const { code, message, options } = error as Error & { code?: string; options?: object };
    return { code, message, options };
  }
}

test('reads what JSON.parse gives, or leaves it to that', () => {
  const seen = { quick: 0, other: 0 };
  fc.assert(
    fc.property(bytes, (text) => {
      const quick = readManySegments(text, 0);
      seen[quick === undefined ? 'other' : 'quick']++;
      if (quick === undefined) return;
      const { rest } = quick;
      const value = JSON.parse(text.toString());
      assert.deepEqual(plain(quick), value);
      // What the schema is spared it would have taken as it is.
      const whole = transferRequestSchema.safeParse({ ...rest, segments: value.segments });
      const spared = transferRequestSchema.safeParse({ ...rest, segments: quick.segments });
      assert.deepEqual(spared.data && plain(spared.data), whole.data);
      assert.deepEqual(spared.error?.issues, whole.error?.issues);
      const { success, data } = transferRequestSchema.safeParse({
        ...{ device_name: 'dax0.0', segments: value.segments },
        ...(quick.segments.hasSources ? {} : { operation: 'fill' }),
      });
      assert.ok(success);
      assert.deepEqual(shownSegments(quick), data.segments);
    }),
    { numRuns: runs(100_000, 5000) },
  );
  expect(Math.min(seen.quick, seen.other)).toBeGreaterThan((seen.quick + seen.other) / 20);
});

test('a whole request is the same either way, large enough for both', () => {
  const padding = fc.constantFrom('', '"x":1,');
  const many = fc
    .tuple(fc.array(right, { minLength: 60, maxLength: 80 }), bytes, padding, fc.nat(9))
    .map(([segments, wrong, more, chance]) => {
      const extra = chance === 0 ? [wrong.toString('latin1')] : [];
      const all = [...segments.slice(1), ...extra, segments[0]].join(',');
      return Buffer.from(`{${more}"device_name":"dax0.0","segments":[${all}]}`, 'latin1');
    });
  fc.assert(
    fc.property(many, (text) => {
      assert.deepEqual(
        outcome(() => parseTransferRequest(text)),
        outcome(() => parseJson(text)),
      );
    }),
    { numRuns: runs(20_000, 1000) },
  );
});

test.each([
  ['4096 of them', 4096, 4096],
  ['one more', 4097, undefined],
])('%s', (_what, count, read) => {
  const segments = Array.from({ length: count }, (_, n) => ({ dst_offset: n, size: 1 }));
  const text = Buffer.from(JSON.stringify({ device_name: 'dax0.0', segments }));
  expect(readManySegments(text)?.segments.length).toBe(read);
});
