// SPDX-License-Identifier: Apache-2.0
import type { Transfer } from './transfer.ts';

export const PHASES = ['queue', 'copy', 'flush', 'verify'] as const;
/** `running`: not over yet; its phases are known once it is. `other`: what belongs to none. */
export type Phase = (typeof PHASES)[number] | 'running' | 'other';

/** A part of a transfer's life. */
export interface TimelinePart {
  phase: Phase;
  ns: number;
  /** Where it begins and how long it is, as fractions of all. */
  start: number;
  share: number;
}

/**
 * Where a transfer's time went, one part after the other. The parts add up to its `total_ns`: what
 * belongs to no phase comes last.
 */
export function timelineOf({
  timings,
  status,
}: Pick<Transfer, 'timings' | 'status'>): TimelinePart[] {
  const named = PHASES.map((phase) => ({ phase: phase as Phase, ns: timings[`${phase}_ns`] }));
  const sum = named.reduce((total, { ns }) => total + ns, 0);
  const all = Math.max(timings.total_ns, sum);
  const rest = status === 'running' ? ('running' as const) : ('other' as const);
  const parts = all > sum ? [...named, { phase: rest, ns: all - sum }] : named;
  let start = 0;
  return parts
    .filter(({ ns }) => ns > 0)
    .map(({ phase, ns }) => {
      const part = { phase, ns, start, share: ns / all };
      start += part.share;
      return part;
    });
}
