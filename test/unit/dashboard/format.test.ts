// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAmount } from '../../../services/dashboard/model/amount.ts';
import {
  describeBytes,
  exactBytes,
  formatBytes,
  formatNanoseconds,
  formatPercent,
  formatSeconds,
  shortOffset,
} from '../../../services/dashboard/model/format.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [1_572_864, '1.50 MiB'],
  [2 ** 20 - 1, '1 MiB'],
  [33_554_432, '32 MiB'],
  [2 ** 40, '1 TiB'],
  [2 ** 53 - 1, '8 PiB'],
])('%i bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes).replace('.00', '')).toBe(text);
});

test('an exact size is the same when it is read', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => {
      expect(parseAmount(exactBytes(bytes))).toBe(bytes);
    }),
  );
});

test.each([
  [0, '0 B'],
  [10, '10 B'],
  [2 ** 25, '32 MiB'],
  [1.5 * 2 ** 30, '1.50 GiB'],
  [2 ** 40, '1 TiB'],
  [10_000_001, '9.54 MiB (10,000,001 bytes)'],
])('%d bytes are described as %s', (bytes, text) => {
  expect(describeBytes(bytes)).toBe(text);
});

test.each([
  ['4096', 4096],
  ['0x1000', 4096],
  [' 32 MiB ', 2 ** 25],
  ['1GiB', 2 ** 30],
  ['1.5MiB', undefined],
  ['-1', undefined],
  ['', undefined],
  ['0x10KiB', undefined],
  ['99999999999999999999', undefined],
])('"%s" is %s bytes', (text, bytes) => {
  expect(parseAmount(text)).toBe(bytes);
});

test.each([
  [0, '0'],
  [2 ** 40, '1 TiB'],
  [1.25 * 2 ** 30, '1.25 GiB'],
  [3500 * 2 ** 20, '3500 MiB'],
  [4097, '0x1001'],
])('the offset %i is %s', (offset, text) => {
  expect(shortOffset(offset)).toBe(text);
});

test.each([
  [0, '0.0 %'],
  [0.4789, '47 %'],
  [0.9999, '99.9 %'],
  [1, '100 %'],
])('%f is %s', (fraction, text) => {
  expect(formatPercent(fraction)).toBe(text);
});

test.each([
  [3.4, '3 s'],
  [60, '1 min'],
  [125, '2 min 5 s'],
  [15_000, '4 h 10 min'],
  [200_000, '2 d 7 h'],
])('%f seconds are %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [999, '999 ns'],
  [148_378, '148 µs'],
  [8_143_420, '8.14 ms'],
  [1.2e9, '1.20 s'],
  [61e9, '1 min 1 s'],
])('%f ns are %s', (ns, text) => {
  expect(formatNanoseconds(ns)).toBe(text);
});
