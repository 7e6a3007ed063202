// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;
const PATTERN = /^(?:([0-9]+)(KiB|MiB|GiB)?|0x([0-9a-fA-F]+))$/;
/** Longer than any number that could be meant; bounds the work a string can cause. */
const MAX_LENGTH = 64;

/**
 * Reads a number of bytes: decimal digits, `0x` and hex digits, or digits and KiB, MiB, GiB.
 *
 * @returns undefined for anything else, and for what is above 2^53-1
 */
export function parseByteCount(text: string): number | undefined {
  const match = text.length <= MAX_LENGTH ? PATTERN.exec(text) : null;
  if (match === null) return undefined;
  const [, digits, unit, hex] = match;
  const count = hex === undefined ? Number(digits) : Number(`0x${hex}`);
  const bytes = unit === undefined ? count : count * UNITS[unit as keyof typeof UNITS];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Whether a value is a number of bytes as {@link byteCount} gives them back. */
export function isByteCount(value: unknown, minimum: 0 | 1): boolean {
  return Number.isSafeInteger(value) && (value as number) >= minimum && !Object.is(value, -0);
}

/**
 * A number of bytes in a request: a JSON integer, or a string as {@link parseByteCount} reads it
 * (in a query always the latter). A number once parsed.
 *
 * @param minimum the least that is valid
 */
export function byteCount(minimum: number) {
  const expected =
    `must be a whole number of bytes, ${minimum} to 2^53-1: an integer, or a string such as ` +
    '"4096", "0x1000" or "32MiB" (KiB, MiB or GiB, and no space)';
  const error = (issue: { input?: unknown }) =>
    issue.input === undefined ? 'is required' : expected;
  return z
    .union(
      [
        z.int({ error }).min(minimum, { error }),
        z.string().max(MAX_LENGTH, { error }).regex(PATTERN, { error }),
      ],
      { error },
    )
    .transform((value, context) => {
      // "+ 0" makes the integer -0, which JSON can carry, 0.
      const bytes = typeof value === 'number' ? value + 0 : parseByteCount(value);
      if (bytes === undefined || bytes < minimum) {
        context.issues.push({ code: 'custom', message: expected, input: value });
        return z.NEVER;
      }
      return bytes;
    });
}
