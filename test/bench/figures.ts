// SPDX-License-Identifier: Apache-2.0
import type { Disturbance } from './quiet.ts';

/** A row of the bench's table and of its JSON file. */
export interface Row {
  name: string;
  /** What was measured; null where it could not be had. */
  value: number | null;
  unit: string;
  /** What it was measured against, in the same run and unit. */
  peer: number | null;
  /** value / peer: the median of the repeats' ratios. */
  ratio: number | null;
  /** Of the repeats' ratios: the distance between their quartiles. */
  spread: number | null;
  /** Of each repeat, in their order. */
  ratios: number[];
  /** What else the machine did meanwhile; absent if nothing was measured. */
  disturbance?: Disturbance;
  /** What the peer is, or why there is no figure. */
  note: string;
}

/** One repeat: ours and the peer's, measured one right after the other. */
export interface Pair {
  value: number;
  peer: number;
}

/** Takes the pairs in turn, the one first and the other first. */
export async function repeat(
  times: number,
  value: () => Promise<number>,
  peer: () => Promise<number>,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let round = 0; round < times; round++) {
    if (round % 2 === 0) {
      const first = await value();
      pairs.push({ value: first, peer: await peer() });
    } else {
      const first = await peer();
      pairs.push({ value: await value(), peer: first });
    }
  }
  return pairs;
}

export function rowOf(name: string, unit: string, pairs: readonly Pair[], note: string): Row {
  const ratios = pairs.map((pair) => pair.value / pair.peer);
  return {
    name,
    value: median(pairs.map((pair) => pair.value)),
    unit,
    peer: median(pairs.map((pair) => pair.peer)),
    ratio: median(ratios),
    spread: quantile(ratios, 0.75) - quantile(ratios, 0.25),
    ratios: ratios.map((ratio) => Number(ratio.toPrecision(6))),
    note,
  };
}

/** Something that a row needs, and this machine does not have. */
export class Unavailable extends Error {}

/** A row without a figure. */
export function skipped(name: string, why: string): Row {
  const nothing = { value: null, unit: '', peer: null, ratio: null, spread: null, ratios: [] };
  return { name, ...nothing, note: why };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between two of the values where it falls between them. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] as number;
  const high = sorted[Math.ceil(at)] as number;
  return low + (high - low) * (at - Math.floor(at));
}
