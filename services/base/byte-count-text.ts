// SPDX-License-Identifier: Apache-2.0

const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;
export const BYTE_COUNT = /^(?:([0-9]+)(KiB|MiB|GiB)?|0x([0-9a-fA-F]+))$/;
/** Longer than any number that could be meant; bounds the work a string can cause. */
export const MAX_LENGTH = 64;

/**
 * Reads a number of bytes: decimal digits, `0x` and hex digits, or digits and KiB, MiB, GiB.
 *
 * @returns undefined for anything else, and for what is above 2^53-1
 */
export function parseByteCount(text: string): number | undefined {
  const match = text.length <= MAX_LENGTH ? BYTE_COUNT.exec(text) : null;
  if (match === null) return undefined;
  const [, digits, unit, hex] = match;
  const count = hex === undefined ? Number(digits) : Number(`0x${hex}`);
  const bytes = unit === undefined ? count : count * UNITS[unit as keyof typeof UNITS];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** As {@link parseByteCount} reads it back, in the largest unit that leaves nothing over. */
export function formatByteCount(bytes: number): string {
  for (const [unit, size] of Object.entries(UNITS).toReversed()) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
}
