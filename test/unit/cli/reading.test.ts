// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatByteCount } from '../../../services/base/byte-count-text.ts';
import { humanBytes, humanSeconds, printable, table } from '../../../services/cli/lib/format.ts';
import {
  formatRange,
  parseDuration,
  parseLabel,
  parseRange,
  parseSize,
  parseSizedRange,
} from '../../../services/cli/lib/ranges.ts';

describe('ranges', () => {
  test.each([
    ['dax0.0', 'dax0.0', 0, undefined],
    ['/dev/dax0.0:4KiB', '/dev/dax0.0', 4096, undefined],
    ['dax0.0:0+32MiB', 'dax0.0', 0, 32 * 2 ** 20],
    ['dax0.0:0x1000-0x3000', 'dax0.0', 4096, 8192],
  ])('%s', (text, device, offset, size) => {
    expect(parseRange(text)).toEqual({ device, offset, size });
  });

  test.each([
    '',
    ':0',
    'dax0.0:',
    'dax0.0:1-',
    'dax0.0:2-1',
    'dax0.0:1+0',
    'dax0.0:1+2+3',
    'd:1MB',
  ])('"%s" is none', (text) => {
    expect(() => parseRange(text)).toThrow();
  });

  test('one that must have a size, and what is written is read back', () => {
    expect(() => parseSizedRange('dax0.0:1')).toThrow('how much');
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1 }), (offset, size) => {
        const range = { device: 'dax0.0', offset, size };
        expect(parseRange(formatRange(range))).toEqual(range);
        expect(parseSize(formatByteCount(size * 1024))).toBe(size * 1024);
      }),
    );
  });
});

test('times and labels', () => {
  expect(['5ms', '2s', '3m', '1h'].map(parseDuration)).toEqual([5, 2000, 180_000, 3_600_000]);
  for (const text of ['', '5', '0s', '-1s', '1d']) expect(() => parseDuration(text)).toThrow();
  expect(parseLabel('b=c=d', parseLabel('a=', {}))).toEqual({ a: '', b: 'c=d' });
  expect(() => parseLabel('a')).toThrow();
});

test('what people read', () => {
  expect([0, 999, 1024, 32 * 2 ** 20, 5 * 2 ** 40].map(humanBytes)).toEqual([
    ...['0 B', '999 B', '1.00 KiB', '32.0 MiB', '5.00 TiB'],
  ]);
  expect([0.002, 5, 125, 7260].map(humanSeconds)).toEqual([
    ...['2 ms', '5.0 s', '2 min 5 s', '2 h 1 min'],
  ]);
  expect(table(['A', 'BB'], [['xx', 'y']])).toBe('A   BB\nxx  y');
  expect(printable('a\x1b[2Jb\n')).toBe('a�[2Jb�');
});
