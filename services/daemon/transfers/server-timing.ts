// SPDX-License-Identifier: Apache-2.0
import type { TransferDocument } from './schema.ts';

/** Phases of a transfer as W3C's Server-Timing has them, in milliseconds. */
export function serverTiming(
  timings: Pick<TransferDocument['timings'], 'queue_ns' | 'copy_ns' | 'flush_ns' | 'verify_ns'>,
  { flush, verify }: { flush: boolean; verify: boolean },
): string {
  const phases = {
    queue: timings.queue_ns,
    copy: timings.copy_ns,
    ...(flush && { flush: timings.flush_ns }),
    ...(verify && { verify: timings.verify_ns }),
  };
  return Object.entries(phases)
    .map(([name, ns]) => `${name};dur=${ns / 1e6}`)
    .join(', ');
}
