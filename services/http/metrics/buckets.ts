// SPDX-License-Identifier: Apache-2.0

/**
 * Bounds of a histogram, three to a decade: 1, 2, 5, 10, …
 *
 * @param from, to powers of ten, both of them bounds
 */
export function buckets125(from: number, to: number): number[] {
  const bounds: number[] = [];
  for (let decade = Math.log10(from); decade < Math.log10(to); decade++) {
    // Read from text, for 5 * 10 ** -6 is not 0.000005.
    for (const digit of [1, 2, 5]) bounds.push(Number(`${digit}e${decade}`));
  }
  return [...bounds, to];
}
