// SPDX-License-Identifier: Apache-2.0
import type { TransferDocument } from './schema.ts';

/** Phases of a transfer as W3C's Server-Timing has them, in milliseconds. */
export function serverTiming(
  timings: Pick<TransferDocument['timings'], 'queue_ns' | 'copy_ns' | 'flush_ns' | 'verify_ns'>,
  { flush, verify }: { flush: boolean; verify: boolean },
): string {
  const phase = (name: string, ns: number) => `${name};dur=${ns / 1e6}`;
  let phases = `${phase('queue', timings.queue_ns)}, ${phase('copy', timings.copy_ns)}`;
  if (flush) phases += `, ${phase('flush', timings.flush_ns)}`;
  if (verify) phases += `, ${phase('verify', timings.verify_ns)}`;
  return phases;
}
