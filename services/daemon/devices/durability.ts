// SPDX-License-Identifier: Apache-2.0
import type { Device } from './device.ts';
import type { Durability } from './schema.ts';

/**
 * @param flush whether it was asked for
 * @param succeeded whether all was written, and flushed if that was asked for
 */
export function durabilityOf(
  { flushBasis }: Device,
  flush: boolean,
  succeeded: boolean,
): Durability {
  const requested = flush ? 'flush' : 'none';
  if (!flush || !succeeded) return { requested, achieved: 'none', basis: null };
  return flushBasis === 'none'
    ? { requested, achieved: 'volatile', basis: null }
    : { requested, achieved: 'flush', basis: flushBasis };
}
