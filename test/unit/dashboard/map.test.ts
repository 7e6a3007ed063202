// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Replication, Stream } from '../../../services/client/types.ts';
import { bandsOf } from '../../../services/dashboard/model/bands.ts';
import {
  faultsOf,
  rangesOn,
  replicatedOn,
  streamedOn,
  summarise,
  type UsedRange,
} from '../../../services/dashboard/model/ranges.ts';
import type { Device } from '../../../services/dashboard/model/transfer.ts';
import {
  clampView,
  offsetAt,
  pan,
  pixelOf,
  ticksOf,
  zoom,
} from '../../../services/dashboard/model/viewport.ts';

const copy: Parameters<typeof rangesOn>[1] = {
  ...{ id: 'a', status: 'running', operation: 'copy', size: 50, bytes_completed: 20 },
  ...{ device_name: 'd0', dst_device_name: 'd1', src_offset: 100, dst_offset: 200 },
  segments: null,
};

describe('the bytes of a device that a transfer uses', () => {
  test('a copy reads its source and writes its destination', () => {
    const of = { size: 50, done: 20, user: 'a' };
    expect(rangesOn('d0', copy)).toEqual([{ ...of, offset: 100, use: 'read' }]);
    expect(rangesOn('d1', copy)).toEqual([{ ...of, offset: 200, use: 'write' }]);
    expect(rangesOn('d2', copy)).toEqual([]);
    const inside = rangesOn('d0', { ...copy, dst_device_name: 'd0' });
    expect(inside.map(({ use }) => use)).toEqual(['read', 'write']);
  });

  test('a fill reads nothing, a comparison writes nothing', () => {
    const fill = { ...copy, operation: 'fill', dst_device_name: 'd0', src_offset: null } as const;
    expect(rangesOn('d0', fill).map(({ use }) => use)).toEqual(['write']);
    const compare = { ...copy, operation: 'compare' } as const;
    expect(rangesOn('d1', compare).map(({ use }) => use)).toEqual(['read']);
  });

  test('one that waits will, one that has finished does not', () => {
    const queued = rangesOn('d1', { ...copy, status: 'queued', bytes_completed: 0 });
    expect(queued.map(({ use }) => use)).toEqual(['write_later']);
    for (const status of ['succeeded', 'failed', 'cancelled', 'interrupted'] as const) {
      expect(rangesOn('d1', { ...copy, status })).toEqual([]);
    }
  });

  test('segments are done one after the other', () => {
    const segments = [0, 100, 200].map((at) => ({ src_offset: at, dst_offset: at, size: 10 }));
    const pieces = rangesOn('d1', {
      ...{ ...copy, src_offset: null, dst_offset: null, size: 30, bytes_completed: 15, segments },
    });
    expect(pieces.map(({ offset, done }) => [offset, done])).toEqual([
      [0, 10],
      [100, 5],
      [200, 0],
    ]);
    expect(summarise(pieces)).toEqual([
      { use: 'write', user: 'a', offset: 0, size: 210, pieces: 3 },
    ]);
  });
});

describe('the bytes that others use', () => {
  const replication = {
    ...{ id: 'r', status: 'running', dst_device_name: 'd1', dst_offset: 300, size: 40 },
    bytes_completed: 10,
  } as Replication;
  const stream = {
    ...{ request_id: 's', device_name: 'd0', offset: 5, size: 20, bytes_completed: 7 },
  };

  test('a replication writes its destination until it has finished', () => {
    const of = { offset: 300, size: 40, done: 10, user: 'r' };
    expect(replicatedOn('d1', replication)).toEqual([{ ...of, use: 'write' }]);
    expect(replicatedOn('d0', replication)).toEqual([]);
    const status = (each: string) => ({ ...replication, status: each }) as Replication;
    expect(replicatedOn('d1', status('queued'))).toEqual([{ ...of, use: 'write_later' }]);
    expect(replicatedOn('d1', status('failed'))).toEqual([]);
  });

  test('a download reads, an upload writes, once its turn has come', () => {
    const use = (direction: string, status: string) =>
      streamedOn('d0', { ...stream, direction, status } as Stream)[0]?.use;
    expect(use('download', 'running')).toBe('read');
    expect(use('upload', 'running')).toBe('write');
    expect(use('upload', 'queued')).toBe('write_later');
    expect(
      streamedOn('d1', { ...stream, direction: 'upload', status: 'running' } as Stream),
    ).toEqual([]);
  });

  test('bad blocks and inconsistent ranges are faults, with the replication if it is shown', () => {
    const device = {
      bad_blocks: [{ offset: 0, size: 1 }],
      inconsistent: [{ offset: 2, size: 3, replication: 'r' }],
    } as Device;
    expect(faultsOf(device)).toEqual([
      { offset: 0, size: 1, fault: 'bad' },
      { offset: 2, size: 3, fault: 'inconsistent', user: 'r' },
    ]);
  });
});

const SIZES = fc.integer({ min: 4096, max: 2 ** 46 });
const FRACTIONS = fc.double({ min: 0, max: 1, noNaN: true });

describe('what is shown of a device', () => {
  test('lies inside it, however it is moved and zoomed', () => {
    const moves = fc.array(fc.tuple(fc.double({ min: -5, max: 5, noNaN: true }), FRACTIONS));
    fc.assert(
      fc.property(SIZES, moves, (size, steps) => {
        let view = { offset: 0, size };
        for (const [by, at] of steps) {
          view = by > 0 ? zoom(view, by, at, size) : pan(view, by, size);
          expect(view.offset).toBeGreaterThanOrEqual(0);
          expect(view.size).toBeGreaterThan(0);
          expect(view.offset + view.size).toBeLessThanOrEqual(size);
          expect(clampView(view, size)).toEqual(view);
        }
      }),
    );
  });

  test('keeps the byte under the cursor when it is zoomed', () => {
    const before = { offset: 2 ** 40, size: 2 ** 40 };
    const after = zoom(before, 0.5, 0.3, 2 ** 43);
    expect(offsetAt(300, after, 1000)).toBeCloseTo(offsetAt(300, before, 1000), -1);
    expect(pixelOf(offsetAt(300, after, 1000), after, 1000)).toBeCloseTo(300);
  });

  test('has some round offsets at its axis, and no more than fit', () => {
    fc.assert(
      fc.property(SIZES, fc.integer({ min: 1, max: 30 }), (size, most) => {
        const ticks = ticksOf({ offset: size, size }, most);
        expect(ticks.length).toBeLessThanOrEqual(most + 1);
        for (const tick of ticks) expect(tick).toBeGreaterThanOrEqual(size);
      }),
    );
  });
});

describe('what is drawn', () => {
  const range = fc
    .record({
      offset: fc.integer({ min: 0, max: 2 ** 40 }),
      size: fc.integer({ min: 1, max: 2 ** 34 }),
      part: FRACTIONS,
      use: fc.constantFrom('read', 'write', 'read_later', 'write_later'),
    })
    .map(({ part, size, ...rest }) => ({
      ...{ ...rest, size, done: Math.floor(part * size), user: 'a' },
    }));

  test('is no more than the pixels there are, and none of it lies outside', () => {
    const width = 200;
    fc.assert(
      fc.property(fc.array(range, { maxLength: 500 }), (ranges) => {
        const view = { offset: 2 ** 30, size: 2 ** 39 };
        const bands = bandsOf(ranges as UsedRange[], [], view, width);
        // Eight kinds: each use, done or not; neighbours are at least a pixel apart.
        expect(bands.length).toBeLessThanOrEqual(8 * width);
        for (const { x, width: wide } of bands) {
          expect(x).toBeGreaterThanOrEqual(0);
          expect(x + wide).toBeLessThanOrEqual(width + 1e-6);
        }
      }),
    );
  });

  test('shows a page of a terabyte', () => {
    const tiny = { offset: 2 ** 39, size: 4096, done: 0, use: 'write', user: 'a' } as const;
    const [band] = bandsOf([tiny], [], { offset: 0, size: 2 ** 40 }, 1000);
    expect(band).toEqual({ x: 500, width: 2, use: 'write', done: false });
  });

  test('shows bad blocks', () => {
    const bad = { offset: 0, size: 10, fault: 'bad' } as const;
    const bands = bandsOf([], [bad], { offset: 0, size: 100 }, 100);
    expect(bands).toEqual([{ x: 0, width: 10, use: 'bad', done: true }]);
  });
});
