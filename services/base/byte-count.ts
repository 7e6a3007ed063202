// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { BYTE_COUNT, MAX_LENGTH, parseByteCount } from './byte-count-text.ts';

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
        z.string().max(MAX_LENGTH, { error }).regex(BYTE_COUNT, { error }),
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
