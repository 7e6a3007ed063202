// SPDX-License-Identifier: Apache-2.0
import type { Range } from '../../client/types.ts';
import type { Fault, FaultyRange, Use, UsedRange } from './ranges.ts';
import { pixelOf } from './viewport.ts';

/** A rectangle of the map, in pixels. */
export interface Band {
  x: number;
  width: number;
  use: Use | Fault;
  /** Whether these bytes have been copied already. */
  done: boolean;
}

/** What is smaller is still seen, and can be hit. */
const LEAST_WIDTH = 2;

/**
 * What to draw: neighbours that share a pixel are one, so that there are never more than the width has
 * pixels, however many ranges there are.
 */
export function bandsOf(
  ranges: readonly UsedRange[],
  faulty: readonly FaultyRange[],
  view: Range,
  width: number,
): Band[] {
  const parts = ranges.flatMap(({ offset, size, done, use }) => [
    ...(done > 0 ? [{ offset, size: done, use, done: true }] : []),
    ...(done < size ? [{ offset: offset + done, size: size - done, use, done: false }] : []),
  ]);
  const faults = faulty.map(({ offset, size, fault }) => ({
    offset,
    size,
    use: fault,
    done: true,
  }));
  const seen = [...faults, ...parts]
    .filter(({ offset, size }) => offset < view.offset + view.size && offset + size > view.offset)
    .sort((a, b) => a.offset - b.offset);
  /** The last one of each kind, which the next of its kind may extend. */
  const open = new Map<string, Band>();
  const bands: Band[] = [];
  for (const { offset, size, use, done } of seen) {
    const from = Math.max(0, pixelOf(offset, view, width));
    const to = Math.min(width, Math.max(pixelOf(offset + size, view, width), from + LEAST_WIDTH));
    const kind = `${use} ${done}`;
    const before = open.get(kind);
    if (before !== undefined && from <= before.x + before.width) {
      before.width = Math.max(before.width, to - before.x);
      continue;
    }
    const band = { x: from, width: to - from, use, done };
    open.set(kind, band);
    bands.push(band);
  }
  return bands;
}
