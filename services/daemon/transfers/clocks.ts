// SPDX-License-Identifier: Apache-2.0

/** CLOCK_MONOTONIC, the clock of the shim's completions, in nanoseconds. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

/** The wall clock may be slewed this far, in milliseconds, before it counts as having been set. */
const MAX_DRIFT_MS = 100;
let wallOffsetMs = Number.NaN;

/**
 * What to add to the monotonic clock, in milliseconds, for the wall clock. The same for all
 * transfers until somebody sets the clock, so that their times are in the order of what happened.
 */
export function wallOffset(): number {
  const offset = Date.now() - monotonicNs() / 1e6;
  if (!(Math.abs(offset - wallOffsetMs) <= MAX_DRIFT_MS)) wallOffsetMs = offset;
  return wallOffsetMs;
}

let lastTime = { ms: Number.NaN, text: '' };

/** A small transfer begins and ends in one millisecond, or two: most times are the last one again. */
export function isoTime(ms: number): string {
  if (ms !== lastTime.ms) lastTime = { ms, text: new Date(ms).toISOString() };
  return lastTime.text;
}
