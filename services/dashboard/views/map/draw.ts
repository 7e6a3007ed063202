// SPDX-License-Identifier: Apache-2.0
import type { Range } from '../../../client/types.ts';
import { type Band, bandsOf } from '../../model/bands.ts';
import { shortOffset } from '../../model/format.ts';
import type { FaultyRange, UsedRange } from '../../model/ranges.ts';
import { pixelOf, ticksOf } from '../../model/viewport.ts';
import type { Palette } from '../../parts/canvas.ts';

export const OVERVIEW_HEIGHT = 10;
const GAP = 4;
const AXIS_HEIGHT = 26;
/** Between marks of the axis, in pixels. */
const TICK_SPACE = 96;

/** How high each of the two lanes is, in pixels: a wide screen is looked at from further away. */
export function laneHeight(width: number): number {
  return width > 1200 ? 64 : 40;
}

/** How high the drawing is. */
export function spaceHeight(width: number): number {
  return 2 * laneHeight(width) + GAP + AXIS_HEIGHT;
}

export interface Scene {
  ranges: readonly UsedRange[];
  faulty: readonly FaultyRange[];
  /** The part of the device that is shown. */
  view: Range;
  width: number;
  palette: Palette;
  /** Of the device. */
  size: number;
}

/** All of the device, and which part of it is shown below. */
export function drawOverview(context: CanvasRenderingContext2D, scene: Scene): void {
  const { view, width, palette, size } = scene;
  const all = { offset: 0, size };
  context.fillStyle = palette.sunken ?? '';
  context.fillRect(0, 0, width, OVERVIEW_HEIGHT);
  for (const band of bandsOf(scene.ranges, scene.faulty, all, width)) {
    context.fillStyle = colourOf(band, palette);
    context.fillRect(band.x, 1, band.width, OVERVIEW_HEIGHT - 2);
  }
  if (view.size === size) return;
  const from = pixelOf(view.offset, all, width);
  const wide = Math.max(3, pixelOf(view.offset + view.size, all, width) - from);
  context.strokeStyle = palette.ink ?? '';
  context.lineWidth = 1.5;
  context.strokeRect(from + 0.75, 0.75, wide - 1.5, OVERVIEW_HEIGHT - 1.5);
}

/** The part that is shown: what is read above, what is written below, offsets under both. */
export function drawSpace(context: CanvasRenderingContext2D, scene: Scene): void {
  const { view, width, palette } = scene;
  context.fillStyle = palette.sunken ?? '';
  const lane = laneHeight(width);
  context.fillRect(0, 0, width, lane);
  context.fillRect(0, lane + GAP, width, lane);
  drawAxis(context, scene, 2 * lane + GAP);
  const bands = bandsOf(scene.ranges, scene.faulty, view, width);
  // What is done now lies over what will be, and over what is wrong.
  for (const band of bands) if (isHatched(band)) drawHatched(context, band, palette, lane);
  for (const band of bands) if (!isHatched(band)) drawBand(context, band, palette, lane);
}

function isHatched({ use }: Band): boolean {
  return use === 'inconsistent' || use.endsWith('later');
}

function drawBand(
  context: CanvasRenderingContext2D,
  band: Band,
  palette: Palette,
  lane: number,
): void {
  context.fillStyle = colourOf(band, palette);
  if (band.use === 'bad') {
    context.fillRect(band.x, 0, band.width, 2 * lane + GAP);
    return;
  }
  const top = topOf(band, lane);
  context.fillRect(band.x, top, band.width, lane);
  // Where it is now.
  if (band.done && band.width > 4) {
    context.fillStyle = palette.ink ?? '';
    context.fillRect(band.x + band.width - 1, top, 1, lane);
  }
}

function drawHatched(
  context: CanvasRenderingContext2D,
  band: Band,
  palette: Palette,
  lane: number,
): void {
  const top = topOf(band, lane);
  const { x, width } = band;
  const kind = band.use === 'inconsistent' ? 'wrong' : 'wait';
  context.save();
  context.beginPath();
  context.rect(x, top, width, lane);
  context.clip();
  context.strokeStyle = palette[`${kind}-rest`] ?? '';
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = Math.floor(x / 6) * 6 - lane; at < x + width; at += 6) {
    context.moveTo(at, top + lane);
    context.lineTo(at + lane, top);
  }
  context.stroke();
  context.strokeStyle = palette[kind] ?? '';
  context.lineWidth = 2;
  context.strokeRect(x, top, width, lane);
  context.restore();
}

function drawAxis(
  context: CanvasRenderingContext2D,
  { view, width, palette }: Scene,
  top: number,
): void {
  context.font = palette.font ?? '';
  context.textBaseline = 'top';
  for (const offset of ticksOf(view, width / TICK_SPACE)) {
    const x = Math.round(pixelOf(offset, view, width)) + 0.5;
    context.strokeStyle = palette.line ?? '';
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, top + 6);
    context.stroke();
    context.fillStyle = palette.quiet ?? '';
    context.textAlign = x < 24 ? 'left' : x > width - 40 ? 'right' : 'center';
    context.fillText(shortOffset(offset), Math.min(x, width), top + 10);
  }
}

function topOf({ use }: Band, lane: number): number {
  return use.startsWith('read') ? 0 : lane + GAP;
}

function colourOf({ use, done }: Band, palette: Palette): string {
  if (use === 'bad' || use === 'inconsistent') return palette.wrong ?? '';
  if (use.endsWith('later')) return palette['wait-rest'] ?? '';
  return palette[done ? use : `${use}-rest`] ?? '';
}
