// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SegmentList } from '../../../services/base/segments.ts';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import { planTransfer } from '../../../services/daemon/transfers/plan.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { makeDevice } from './make-transfer.ts';

const SIZE = 1000;
const inventory = new Inventory([
  makeDevice({ name: 'dax0.0', size: SIZE, handle: 0 }),
  makeDevice({ name: 'dax1.0', size: SIZE, badBlocks: [{ offset: 500, size: 10 }], handle: 1 }),
  makeDevice({ name: 'dax2.0', size: Number.MAX_SAFE_INTEGER, handle: 2 }),
]);
const chooser = makeChooser('auto', noDma());
const plan = (body: object) => planTransfer(transferRequestSchema.parse(body), inventory, chooser);

/** What is refused: the code, and where. */
function refusal(body: object): [string, string | undefined] | undefined {
  try {
    plan(body);
    return undefined;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [error.code, error.options.errors?.[0]?.pointer];
  }
}

const good = { device_name: 'dax0.0', src_offset: 0, dst_offset: 100, size: 100 };

describe('planTransfer', () => {
  test('fills in what follows from the request', () => {
    expect(plan({ ...good, priority: 'low', timeout_ms: 5, labels: { a: 'b' } })).toMatchObject({
      source: { name: 'dax0.0' },
      destination: { name: 'dax0.0' },
      segments: SegmentList.of({ src_offset: 0, dst_offset: 100, size: 100 }),
      segmented: false,
      bytes: 100,
      requestedEngine: 'auto',
      choice: { engine: 'cpu' },
      priority: 'low',
      flush: true,
      verify: false,
      timeoutMs: 5,
      labels: { a: 'b' },
    });
    const segments = [1, 2].map((size) => ({ src_offset: 0, dst_offset: 10 * size, size }));
    expect(plan({ device_name: '/dev/dax0.0', segments, durability: 'none' })).toMatchObject({
      segments: SegmentList.from(segments),
      segmented: true,
      bytes: 3,
      flush: false,
    });
  });

  test('refuses exactly what does not fit, overlaps itself, or touches a bad block', () => {
    const offset = fc.oneof(fc.nat(SIZE + 5), fc.constantFrom(SIZE, Number.MAX_SAFE_INTEGER));
    fc.assert(
      fc.property(
        fc.constantFrom('dax0.0', 'dax1.0'),
        fc.constantFrom('dax0.0', 'dax1.0'),
        offset,
        offset,
        fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constant(Number.MAX_SAFE_INTEGER)),
        (device_name, dst_device_name, src_offset, dst_offset, size) => {
          const ends = [BigInt(src_offset) + BigInt(size), BigInt(dst_offset) + BigInt(size)];
          const bad = (name: string, start: number) =>
            name === 'dax1.0' && start < 510 && start + size > 500;
          const expected = ends.some((end) => end > BigInt(SIZE))
            ? 'out_of_range'
            : device_name === dst_device_name && Math.abs(src_offset - dst_offset) < size
              ? 'overlapping_ranges'
              : bad(device_name, src_offset) || bad(dst_device_name, dst_offset)
                ? 'bad_block'
                : undefined;
          const body = { device_name, dst_device_name, src_offset, dst_offset, size };
          expect(refusal(body)?.[0]).toBe(expected);
        },
      ),
      { numRuns: runs(1500) },
    );
  });

  test.each<[object, [string, string]]>([
    [{ ...good, device_name: 'dax9.0' }, ['unknown_device', '/device_name']],
    [{ ...good, device_name: '/dev/mem' }, ['unknown_device', '/device_name']],
    [{ ...good, dst_device_name: '' }, ['unknown_device', '/dst_device_name']],
    [{ ...good, src_offset: SIZE }, ['out_of_range', '/src_offset']],
    [{ ...good, dst_offset: SIZE + 1 }, ['out_of_range', '/dst_offset']],
    [{ ...good, src_offset: 950 }, ['out_of_range', '/size']],
    [{ ...good, dst_offset: 50 }, ['overlapping_ranges', '/dst_offset']],
    [{ ...good, dst_offset: 0 }, ['overlapping_ranges', '/dst_offset']],
    [{ ...good, dst_device_name: 'dax1.0', dst_offset: 450 }, ['bad_block', '/dst_offset']],
    [{ ...good, engine: 'dma' }, ['engine_unavailable', '/engine']],
  ])('%j is refused with its place', (body, expected) => {
    expect(refusal(body)).toEqual(expected);
  });

  test('names the segment', () => {
    const segments = [
      { src_offset: 0, dst_offset: 100, size: 10 },
      { src_offset: 0, dst_offset: 995, size: 10 },
    ];
    expect(refusal({ device_name: 'dax0.0', segments })).toEqual([
      'out_of_range',
      '/segments/1/size',
    ]);
  });

  test('tells the first that applies, in the order of the contract', () => {
    const overlap = { src_offset: 0, dst_offset: 5, size: 10 };
    const outside = { src_offset: SIZE, dst_offset: 0, size: 1 };
    const onBadBlock = { src_offset: 505, dst_offset: 0, size: 1 };
    const wrong = { device_name: 'dax1.0', engine: 'dma' };
    const code = (segments: object[], more: object = {}) =>
      refusal({ ...wrong, ...more, segments })?.[0];
    const all = [onBadBlock, overlap, outside];
    expect(code(all, { dst_device_name: 'dax7.0' })).toBe('unknown_device');
    expect(code(all)).toBe('out_of_range');
    expect(code([onBadBlock, overlap])).toBe('overlapping_ranges');
    expect(code([onBadBlock])).toBe('bad_block');
    expect(code([{ src_offset: 0, dst_offset: 5, size: 1 }])).toBe('engine_unavailable');
  });

  test('lets segments of one transfer touch each other', () => {
    const segments = [
      { src_offset: 0, dst_offset: 10, size: 10 },
      { src_offset: 10, dst_offset: 20, size: 10 },
      { src_offset: 20, dst_offset: 0, size: 10 },
    ];
    expect(refusal({ device_name: 'dax0.0', segments })).toBeUndefined();
  });

  test('refuses more than 2^53-1 bytes in all', () => {
    const half = 2 ** 52 - 1;
    const segments = [1, 2, 3].map(() => ({ src_offset: 0, dst_offset: half, size: half }));
    expect(refusal({ device_name: 'dax2.0', segments })).toEqual(['out_of_range', '/segments']);
    expect(refusal({ device_name: 'dax2.0', segments: segments.slice(1) })).toBeUndefined();
  });
});
