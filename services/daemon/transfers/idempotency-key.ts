// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

export const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;
/** A string as structured fields have it (RFC 9651, 3.3.3). */
const QUOTED = /^"((?:[^"\\]|\\["\\])*)"$/;
/**
 * The key that a header's value names. The Idempotency-Key draft has clients send it as a
 * structured field, in quotes; many leave those out, and a retry by another library may have them.
 */
export function readKey(value: string): string {
  const quoted = QUOTED.exec(value)?.[1];
  return quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1');
}

export const idempotencyKeySchema = z
  .string()
  .overwrite(readKey)
  .regex(IDEMPOTENCY_KEY, 'must have 1 to 255 printable ASCII characters');
