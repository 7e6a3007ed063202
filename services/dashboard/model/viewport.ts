// SPDX-License-Identifier: Apache-2.0
import type { Range } from '../../client/types.ts';

/** Nobody looks at less than some pages. */
export const MIN_VISIBLE = 64 * 1024;

/** The part of a device that is shown, moved and sized so that it lies inside. */
export function clampView({ offset, size }: Range, deviceSize: number): Range {
  const least = Math.min(MIN_VISIBLE, deviceSize);
  const kept = Math.min(Math.max(size, least), deviceSize);
  return {
    offset: Math.round(Math.min(Math.max(offset, 0), deviceSize - kept)),
    size: Math.round(kept),
  };
}

/**
 * Zooms, with the byte under the cursor staying there.
 *
 * @param factor below 1 shows less, in more detail
 * @param at the cursor, as a fraction of the width
 */
export function zoom(view: Range, factor: number, at: number, deviceSize: number): Range {
  const size = Math.min(
    Math.max(view.size * factor, Math.min(MIN_VISIBLE, deviceSize)),
    deviceSize,
  );
  return clampView({ offset: view.offset + at * (view.size - size), size }, deviceSize);
}

/** Moves it by a fraction of what is shown. */
export function pan(view: Range, by: number, deviceSize: number): Range {
  return clampView({ ...view, offset: view.offset + by * view.size }, deviceSize);
}

/** Shows a range, with as much again around it. */
export function fit({ offset, size }: Range, deviceSize: number): Range {
  const around = Math.max(size, MIN_VISIBLE / 4);
  return clampView({ offset: offset - around / 2, size: size + around }, deviceSize);
}

/** Where an offset lies, in pixels from the left. */
export function pixelOf(offset: number, view: Range, width: number): number {
  return ((offset - view.offset) / view.size) * width;
}

export function offsetAt(pixel: number, view: Range, width: number): number {
  return view.offset + (pixel / width) * view.size;
}

/** Round offsets (in binary) to mark, no more than fit. */
export function ticksOf(view: Range, most: number): number[] {
  const step = 2 ** Math.ceil(Math.log2(view.size / Math.max(1, most)));
  const first = Math.ceil(view.offset / step) * step;
  const ticks: number[] = [];
  for (let at = first; at <= view.offset + view.size; at += step) ticks.push(at);
  return ticks;
}
