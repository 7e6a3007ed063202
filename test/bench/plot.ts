// SPDX-License-Identifier: Apache-2.0
import type { Row } from './figures.ts';

const WIDTH = 860;
const BAR = 22;
const LEFT = 190;
const RIGHT = 60;
const TOP = 62;

/** A bar for each row's ratio, with its quartiles' distance, and a line where both are the same. */
export function ratioPlot(title: string, machine: string, rows: readonly Row[]): string {
  const drawn = rows.filter((row) => row.ratio !== null);
  const most = Math.max(1.2, ...drawn.map(({ ratio, spread }) => (ratio ?? 0) + (spread ?? 0) / 2));
  const at = (ratio: number) => LEFT + (ratio / most) * (WIDTH - LEFT - RIGHT);
  const height = TOP + drawn.length * BAR + 12;
  const bars = drawn.map((row, index) => bar(row, TOP + index * BAR, at));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    text(12, 24, `${title}: ratio to the peer of each`, 'font-size="15"'),
    text(12, 44, machine, 'fill="#555" font-size="10"'),
    ...bars,
    `<path d="M${at(1)} ${TOP - 8}V${height - 8}" stroke="#c33" stroke-dasharray="4 3"/>`,
    '</svg>\n',
  ].join('\n');
}

function bar({ name, ratio, spread }: Row, y: number, at: (ratio: number) => number): string {
  const [middle, half] = [ratio ?? 0, (spread ?? 0) / 2];
  const centre = y + (BAR - 6) / 2;
  const end = at(middle + half);
  return [
    text(LEFT - 8, centre + 4, name, 'text-anchor="end"'),
    `<rect x="${LEFT}" y="${y}" width="${at(middle) - LEFT}" height="${BAR - 6}" fill="#69c"/>`,
    `<path d="M${at(Math.max(middle - half, 0))} ${centre}H${end}" stroke="#235"/>`,
    text(end + 6, centre + 4, middle.toFixed(2)),
  ].join('');
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const safe = content.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  return `<text x="${x}" y="${y}" ${attributes}>${safe}</text>`;
}
