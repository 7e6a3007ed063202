// SPDX-License-Identifier: Apache-2.0

/** How far something had come, and when. */
export interface Sample {
  /** In milliseconds, by a clock that nobody sets. */
  at: number;
  bytes: number;
}

/** Over how long a rate is taken: shorter jitters, longer lags. */
const WINDOW_MS = 3000;
/** Samples closer together are one. */
const STEP_MS = 250;

/**
 * Adds a sample, and drops what is too old to count.
 *
 * @returns a new list, of 14 samples at most
 */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const last = samples.at(-1);
  // Bytes never go back, unless it runs again from its start.
  if (last !== undefined && sample.bytes < last.bytes) return [sample];
  const kept = samples.filter((_, index) => {
    const next = samples[index + 1];
    return next === undefined || next.at > sample.at - WINDOW_MS;
  });
  const before = kept.at(-2);
  if (last !== undefined && before !== undefined && last.at - before.at < STEP_MS) kept.pop();
  return [...kept, sample];
}

/** In bytes a second; undefined until that can be told. */
export function rateOf(samples: readonly Sample[], now: number): number | undefined {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last === first) return undefined;
  // Once nothing comes any more, the rate falls.
  const until = now - last.at > WINDOW_MS / 2 ? now : last.at;
  const ms = until - first.at;
  return ms < STEP_MS / 2 ? undefined : ((last.bytes - first.bytes) / ms) * 1000;
}

/** In seconds; undefined if it stands still, or is not known. */
export function timeLeft(bytesLeft: number, rate: number | undefined): number | undefined {
  return rate === undefined || rate <= 0 ? undefined : bytesLeft / rate;
}
