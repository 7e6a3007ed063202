// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { byteCount } from '../../../services/base/byte-count.ts';
import { parseByteCount } from '../../../services/base/byte-count-text.ts';
import { runs } from '../../support/depth.ts';

const LARGEST = 2n ** 53n - 1n;
const UNITS = { '': 1n, KiB: 2n ** 10n, MiB: 2n ** 20n, GiB: 2n ** 30n };

/** The same in whole numbers of any size; a string as long as this is no number that is meant. */
function model(text: string): number | undefined {
  if (text.length > 64) return undefined;
  const hex = text.startsWith('0x');
  const unit = hex
    ? ''
    : ((['KiB', 'MiB', 'GiB'] as const).find((candidate) => text.endsWith(candidate)) ?? '');
  const digits = hex ? text.slice(2) : text.slice(0, text.length - unit.length);
  const allowed = hex ? '0123456789abcdefABCDEF' : '0123456789';
  if (digits === '' || [...digits].some((digit) => !allowed.includes(digit))) return undefined;
  const bytes = BigInt(hex ? text : digits) * UNITS[unit];
  return bytes > LARGEST ? undefined : Number(bytes);
}

const magnitude = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 70n }),
  fc.bigInt({ min: -3n, max: 3n }).map((near) => 2n ** 53n + near),
  fc
    .tuple(fc.constantFrom(10n, 20n, 30n), fc.bigInt({ min: -2n, max: 2n }))
    .map(([shift, near]) => ((2n ** 53n) >> shift) + near),
  fc.bigInt({ min: 0n, max: 4096n }),
);
const zeros = fc.nat(12).map((count) => '0'.repeat(count));
const well = fc.oneof(
  fc
    .tuple(zeros, magnitude, fc.constantFrom('', 'KiB', 'MiB', 'GiB'))
    .map(([pad, value, unit]) => `${pad}${value}${unit}`),
  fc
    .tuple(zeros, magnitude, fc.boolean())
    .map(([pad, value, upper]) =>
      upper ? `0x${pad}${value.toString(16).toUpperCase()}` : `0x${pad}${value.toString(16)}`,
    ),
);
const nearly = fc.oneof(
  fc.string(),
  fc
    .array(fc.constantFrom(...'0123456789abcxXKMGTiBb +-._e\n１٣'), { maxLength: 8 })
    .map((characters) => characters.join('')),
  fc
    .tuple(well, fc.nat(), fc.constantFrom('', ' ', '-', '.', '_', 'i', 'x', '\n', '０'))
    .map(([text, at, extra]) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + extra + text.slice(place + (at % 2));
    }),
);

describe('parseByteCount', () => {
  test('reads what is well written exactly, up to 2^53-1', () => {
    fc.assert(
      fc.property(well, (text) => {
        if (parseByteCount(text) !== model(text)) expect(parseByteCount(text)).toBe(model(text));
      }),
      { numRuns: runs(5000) },
    );
  });

  test('refuses all else', () => {
    fc.assert(
      fc.property(nearly, (text) => {
        if (parseByteCount(text) !== model(text)) expect(parseByteCount(text)).toBe(model(text));
      }),
      { numRuns: runs(5000) },
    );
  });

  test.each([
    ['0', 0],
    ['0x0', 0],
    ['0KiB', 0],
    ['007', 7],
    ['0x0010', 16],
    ['0xfF', 255],
    ['32MiB', 33_554_432],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['9007199254740992', undefined],
    ['9007199254740993', undefined],
    ['0x1fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['0x20000000000000', undefined],
    ['0x20000000000001', undefined],
    ['8796093022207KiB', 9_007_199_254_739_968],
    ['8796093022208KiB', undefined],
    ['8388607GiB', 9_007_198_180_999_168],
    ['8388608GiB', undefined],
    [`${'0'.repeat(63)}7`, 7],
    [`${'0'.repeat(64)}7`, undefined],
    ['9'.repeat(400), undefined],
  ])('%p is %p', (text, expected) => {
    expect(parseByteCount(text)).toBe(expected);
  });

  test.each([
    ...['', ' ', '1 MiB', '1mib', '1MIB', '1MB', '1M', '1K', '1TiB', '1B', '+1', '-1', '-0', '1e3'],
    ...['1.0', '1.5MiB', '0x', '0X10', '0x1KiB', 'ff', '0b1', '0o7', ' 1', '1 ', '1\n', '\n1'],
    ...['１', '1_000', '1,000', 'KiB', 'Infinity', 'NaN', 'null', '0x-1', '--1', '1KiBKiB'],
  ])('%p is no number of bytes', (text) => {
    expect(parseByteCount(text)).toBeUndefined();
  });
});

describe('byteCount', () => {
  const read = (value: unknown, minimum: 0 | 1 = 0) => {
    const result = byteCount(minimum).safeParse(value);
    return result.success ? result.data : undefined;
  };

  test('takes JSON numbers that are whole, 0 to 2^53-1', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.integer(), fc.maxSafeNat()), (value) => {
        const whole = Number.isSafeInteger(value) && value >= 0;
        if (read(value) !== (whole ? value + 0 : undefined)) expect(read(value)).toBe(value);
      }),
      { numRuns: runs(2000) },
    );
  });

  test.each([
    ['16.0', 16],
    ['1.6e1', 16],
    ['-0', 0],
    ['-0.0', 0],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['9007199254740992', undefined],
    ['1.5', undefined],
    ['-1', undefined],
    ['1e400', undefined],
    ['1e-400', 0],
    ['null', undefined],
    ['true', undefined],
    ['[1]', undefined],
    ['{}', undefined],
    ['"1"', 1],
    ['""', undefined],
  ])('JSON %s is %p', (json, expected) => {
    // toBe tells 0 from -0, which is what a client would be given back.
    expect(read(JSON.parse(json))).toBe(expected);
  });

  test('knows its minimum, for numbers and strings alike', () => {
    for (const zero of [0, -0, '0', '0x0', '0MiB']) {
      expect(read(zero, 0)).toBe(0);
      expect(read(zero, 1)).toBeUndefined();
    }
    for (const one of [1, '1', '0x1']) expect(read(one, 1)).toBe(1);
  });

  test('says that it is required, or what it must be, once', () => {
    const issues = (value: unknown) =>
      byteCount(1)
        .safeParse(value)
        .error?.issues.map(({ message }) => message);
    expect(issues(undefined)).toEqual(['is required']);
    for (const wrong of [0, -1, 1.5, 'x', '0', 2 ** 53, '9007199254740992', null, {}, [], true]) {
      expect(issues(wrong)).toEqual([expect.stringContaining('1 to 2^53-1')]);
    }
  });
});
