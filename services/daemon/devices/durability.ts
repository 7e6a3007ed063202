// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { FLUSH_BASES } from '../engines/records.ts';
import type { Device } from './device.ts';

/** How persistent bytes are that were written. */
export const durabilitySchema = z.object({
  requested: z.enum(['flush', 'none']),
  achieved: z.enum(['flush', 'none', 'volatile']).meta({
    description: 'volatile: the destination cannot be persistent.',
  }),
  basis: z.enum(FLUSH_BASES).nullable().meta({ description: 'What made it persistent.' }),
});

/**
 * @param flush whether it was asked for
 * @param succeeded whether all was written, and flushed if that was asked for
 */
export function durabilityOf(
  { flushBasis }: Device,
  flush: boolean,
  succeeded: boolean,
): z.output<typeof durabilitySchema> {
  const requested = flush ? 'flush' : 'none';
  if (!flush || !succeeded) return { requested, achieved: 'none', basis: null };
  return flushBasis === 'none'
    ? { requested, achieved: 'volatile', basis: null }
    : { requested, achieved: 'flush', basis: flushBasis };
}
