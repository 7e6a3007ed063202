// SPDX-License-Identifier: Apache-2.0

/**
 * How thoroughly the tests run: `quick` (the default) or `deep`, from TEST_DEPTH. Both run the same
 * tests; only how often a random one repeats differs. `test/native/harness.c` reads the same variable.
 */
export const DEPTH = readDepth(process.env.TEST_DEPTH ?? 'quick');

/** Quick tests repeat once where deep ones repeat this often. */
const QUICK_DIVISOR = 20;

/**
 * How often a random test repeats at this depth.
 *
 * @param deep how often in deep tests
 * @param least how often in quick ones at least
 */
export function runs(deep: number, least = 10): number {
  if (DEPTH === 'deep') return deep;
  return Math.min(deep, Math.max(least, Math.ceil(deep / QUICK_DIVISOR)));
}

/** Quick tests take one case where deep ones take this many. */
const CASES_DIVISOR = 7;

/** Cases of a test that is slow: all in deep tests, in quick ones some from the whole list. */
export function cases<T>(all: readonly T[]): T[] {
  return all.filter((_, index) => DEPTH === 'deep' || index % CASES_DIVISOR === 0);
}

/** Shows what a test measured, in deep tests: quick ones print nothing if all is well. */
export function report(figures: string): void {
  if (DEPTH === 'deep') process.stderr.write(`${figures}\n`);
}

function readDepth(value: string): 'quick' | 'deep' {
  if (value === 'quick' || value === 'deep') return value;
  throw new Error(`TEST_DEPTH must be "quick" or "deep", not "${value}"`);
}
