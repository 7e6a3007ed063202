// SPDX-License-Identifier: Apache-2.0

/**
 * How often a header was sent: of some Node keeps the first one only.
 *
 * @param rawHeaders names and values by turns, as they came
 * @param name in lower case
 */
export function countHeaders(rawHeaders: readonly string[], name: string): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const given = rawHeaders[index] as string;
    if (given.length === name.length && given.toLowerCase() === name) count++;
  }
  return count;
}
