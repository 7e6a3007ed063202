// SPDX-License-Identifier: Apache-2.0

/** Both ways in which content is moved, by the size from which on the shim does it. */
export const WAYS = [
  ['through Node', Number.POSITIVE_INFINITY],
  ['past Node', 1],
] as const;
