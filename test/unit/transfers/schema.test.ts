// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import { byteCount } from '../../../services/base/byte-count.ts';
import { SegmentList } from '../../../services/base/segments.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import { runs } from '../../support/depth.ts';

const good = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const accepts = (more: object) => transferRequestSchema.safeParse({ ...good, ...more }).success;
const pairs = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, '']));

describe('transferRequestSchema', () => {
  test.each<[string, object, boolean]>([
    ['no labels', { labels: {} }, true],
    ['16 labels', { labels: pairs(16) }, true],
    ['17 labels', { labels: pairs(17) }, false],
    ['a key of 63 characters', { labels: { ['k'.repeat(63)]: '' } }, true],
    ['a key of 64 characters', { labels: { ['k'.repeat(64)]: '' } }, false],
    // Characters, as JSON Schema counts them, and not UTF-16 units.
    ['a key of 63 emoji', { labels: { ['😀'.repeat(63)]: '' } }, true],
    ['a value of 255 emoji', { labels: { a: '😀'.repeat(255) } }, true],
    ['a value of 256 characters', { labels: { a: 'x'.repeat(256) } }, false],
    ['an empty key', { labels: { '': 'x' } }, false],
    ['a key with a colon', { labels: { 'a:b': 'x' } }, false],
    ['a value with a colon', { labels: { a: 'b:c' } }, true],
    ['a key that objects have', { labels: { constructor: 'x' } }, true],
    ['labels that are a list', { labels: [] }, false],
    ['a timeout of 1 ms', { timeout_ms: 1 }, true],
    ['a timeout of a day', { timeout_ms: 86_400_000 }, true],
    ['a timeout of 0', { timeout_ms: 0 }, false],
    ['a timeout as text', { timeout_ms: '1000' }, false],
    ['a timeout with a fraction', { timeout_ms: 1.5 }, false],
    ['dry_run as text', { dry_run: 'true' }, false],
    ['another priority', { priority: 'urgent' }, false],
    ['null for what is optional', { dst_device_name: null }, false],
    ['segments beside the three', { segments: [{ ...good, device_name: undefined }] }, false],
  ])('%s', (_name, more, expected) => {
    expect(accepts(more)).toBe(expected);
  });

  test('takes 1 to 4096 segments', () => {
    const segment = { src_offset: 0, dst_offset: '4KiB', size: 1 };
    const of = (count: number) =>
      transferRequestSchema.safeParse({
        device_name: 'dax0.0',
        segments: Array.from({ length: count }, () => segment),
      }).success;
    expect([0, 1, 4096, 4097].map(of)).toEqual([false, true, true, false]);
  });
});

describe('segments', () => {
  const plainly = z.array(
    z.strictObject({ src_offset: byteCount(0), dst_offset: byteCount(0), size: byteCount(1) }),
  );
  const count = fc.oneof(
    { weight: 12, arbitrary: fc.nat() },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...[0, -0, -1, 0.5, 2 ** 53 - 1, 2 ** 53, 1e300, '7', '1KiB', '0x10', 'x', '', null],
        ...[true, [], {}, [1]],
      ),
    },
  );
  /** As JSON.parse makes it. */
  const plainObject = { noNullPrototype: true } as const;
  const all = { src_offset: count, dst_offset: count, size: count };
  const segment = fc.oneof(
    { weight: 12, arbitrary: fc.record(all, plainObject) },
    { weight: 1, arbitrary: fc.record(all, { ...plainObject, requiredKeys: ['size'] }) },
    { weight: 1, arbitrary: fc.record({ ...all, more: count }, plainObject) },
    { weight: 1, arbitrary: fc.constantFrom(null, 'x', 7, [1, 2, 3], {}) },
  );
  const few = fc.array(segment, { minLength: 1, maxLength: 4 });

  test('are taken, refused and read as if each were parsed', () => {
    let taken = 0;
    fc.assert(
      fc.property(few, (segments) => {
        const expected = plainly.safeParse(segments);
        const found = transferRequestSchema.safeParse({ device_name: 'dax0.0', segments });
        expect(found.success).toBe(expected.success);
        if (found.success) taken++;
        // Object.is: that -0 becomes 0 must show.
        if (found.success) expect(found.data.segments).toStrictEqual(expected.data);
        else expect(sorted(within(found.error))).toEqual(sorted(expected.error?.issues ?? []));
      }),
      { numRuns: runs(2000) },
    );
    expect(taken).toBeGreaterThan(runs(2000) / 20);
  });

  test('are taken as they are, also once some have been refused', () => {
    const given = [{ src_offset: 0, dst_offset: 1, size: 1 }];
    const read = SegmentList.from(given);
    const parse = (segments: unknown) =>
      transferRequestSchema.safeParse({ device_name: 'dax0.0', segments });
    for (const wrong of [null, [null], [{ ...given[0], size: 0 }]]) {
      expect(parse(wrong).success).toBe(false);
      expect(parse(given).data?.segments).toBe(given);
      expect(parse(read).data?.segments).toBe(read);
    }
  });

  const described = ({ path, message }: z.core.$ZodIssue) => ({ path, message });
  const within = ({ issues }: z.ZodError) =>
    issues.map((issue) => ({ ...issue, path: issue.path.slice(1) }));
  // That a copy's src_offset is missing is found after all else.
  const sorted = (issues: z.core.$ZodIssue[]) =>
    issues.map((issue) => JSON.stringify(described(issue))).sort();
});
