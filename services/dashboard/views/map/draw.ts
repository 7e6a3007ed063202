// SPDX-License-Identifier: Apache-2.0
import type { Range } from '../../../client/types.ts';
import { type Band, bandsOf } from '../../model/bands.ts';
import { shortOffset } from '../../model/format.ts';
import type { UsedRange } from '../../model/ranges.ts';
import { pixelOf, ticksOf } from '../../model/viewport.ts';
import type { Palette } from '../../parts/canvas.ts';

export const OVERVIEW_HEIGHT = 10;
export const SPACE_HEIGHT = 112;
const LANE_HEIGHT = 40;
const GAP = 4;
const AXIS_TOP = 2 * LANE_HEIGHT + GAP;
/** Between marks of the axis, in pixels. */
const TICK_SPACE = 96;

export interface Scene {
  ranges: readonly UsedRange[];
  bad: readonly Range[];
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
  for (const band of bandsOf(scene.ranges, scene.bad, all, width)) {
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
  context.fillRect(0, 0, width, LANE_HEIGHT);
  context.fillRect(0, LANE_HEIGHT + GAP, width, LANE_HEIGHT);
  drawAxis(context, scene);
  const bands = bandsOf(scene.ranges, scene.bad, view, width);
  for (const band of bands) if (band.use.endsWith('later')) drawWaiting(context, band, palette);
  for (const band of bands) if (!band.use.endsWith('later')) drawBand(context, band, palette);
}

function drawBand(context: CanvasRenderingContext2D, band: Band, palette: Palette): void {
  context.fillStyle = colourOf(band, palette);
  if (band.use === 'bad') {
    context.fillRect(band.x, 0, band.width, AXIS_TOP);
    return;
  }
  const top = laneOf(band);
  context.fillRect(band.x, top, band.width, LANE_HEIGHT);
  // Where it is now.
  if (band.done && band.width > 4) {
    context.fillStyle = palette.ink ?? '';
    context.fillRect(band.x + band.width - 1, top, 1, LANE_HEIGHT);
  }
}

function drawWaiting(context: CanvasRenderingContext2D, band: Band, palette: Palette): void {
  const top = laneOf(band);
  const { x, width } = band;
  context.save();
  context.beginPath();
  context.rect(x, top, width, LANE_HEIGHT);
  context.clip();
  context.strokeStyle = palette['wait-rest'] ?? '';
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = Math.floor(x / 6) * 6 - LANE_HEIGHT; at < x + width; at += 6) {
    context.moveTo(at, top + LANE_HEIGHT);
    context.lineTo(at + LANE_HEIGHT, top);
  }
  context.stroke();
  context.strokeStyle = palette.wait ?? '';
  context.lineWidth = 2;
  context.strokeRect(x, top, width, LANE_HEIGHT);
  context.restore();
}

function drawAxis(context: CanvasRenderingContext2D, { view, width, palette }: Scene): void {
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'top';
  for (const offset of ticksOf(view, width / TICK_SPACE)) {
    const x = Math.round(pixelOf(offset, view, width)) + 0.5;
    context.strokeStyle = palette.line ?? '';
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, AXIS_TOP + 6);
    context.stroke();
    context.fillStyle = palette.quiet ?? '';
    context.textAlign = x < 24 ? 'left' : x > width - 40 ? 'right' : 'center';
    context.fillText(shortOffset(offset), Math.min(x, width), AXIS_TOP + 10);
  }
}

function laneOf({ use }: Band): number {
  return use.startsWith('read') ? 0 : LANE_HEIGHT + GAP;
}

function colourOf({ use, done }: Band, palette: Palette): string {
  if (use === 'bad') return palette.wrong ?? '';
  if (use.endsWith('later')) return palette['wait-rest'] ?? '';
  return palette[done ? use : `${use}-rest`] ?? '';
}
