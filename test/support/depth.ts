// SPDX-License-Identifier: Apache-2.0
import { test } from '@jest/globals';

/**
 * How thoroughly the tests run, from TEST_DEPTH; each depth runs all that the one before it runs.
 *
 * - `quick` (the default): what tells within minutes whether something broke
 * - `deep`: every test, random ones three times as often; `test/jest.config.js` leaves
 *   `*.deep.test.ts` out of quick ones
 * - `exhaustive`: random tests repeat as often as they say, with the largest figures
 *
 * `test/native/harness.c` reads the same variable.
 */
const DEPTHS = ['quick', 'deep', 'exhaustive'] as const;
const DEPTH = readDepth(process.env.TEST_DEPTH ?? 'quick');

export const EXHAUSTIVE = DEPTH === 'exhaustive';

/** A test that takes too long for quick ones, such as for the daemons that it starts. */
export const deepTest: typeof test.skip = DEPTH === 'quick' ? test.skip : test;

/** Tests repeat once where exhaustive ones repeat this often. */
const RUNS_DIVISOR = DEPTH === 'quick' ? 60 : 20;

/**
 * How often a random test repeats at this depth.
 *
 * @param most how often in exhaustive tests
 * @param least how often in all others at least
 */
export function runs(most: number, least = 10): number {
  if (EXHAUSTIVE) return most;
  return Math.min(most, Math.max(least, Math.ceil(most / RUNS_DIVISOR)));
}

/** Tests take one case where exhaustive ones take this many. */
const CASES_DIVISOR = 7;

/** Cases of a test that is slow: all in exhaustive tests, in others some from the whole list. */
export function cases<T>(all: readonly T[]): T[] {
  return all.filter((_, index) => EXHAUSTIVE || index % CASES_DIVISOR === 0);
}

/** Shows what a test measured, in exhaustive tests: others print nothing if all is well. */
export function report(figures: string): void {
  if (EXHAUSTIVE) process.stderr.write(`${figures}\n`);
}

function readDepth(value: string): (typeof DEPTHS)[number] {
  const depth = DEPTHS.find((each) => each === value);
  if (depth !== undefined) return depth;
  throw new Error(`TEST_DEPTH must be one of ${DEPTHS.join(', ')}, not "${value}"`);
}
