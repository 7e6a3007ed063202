// SPDX-License-Identifier: Apache-2.0
import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 allocate what is new in its young generation, always. Of code whose objects once lived for long, as those
 * of a start or of a queue do, it would put all later ones straight into old space, which is collected rarely: 1.8 KB of
 * each small transfer, with what they refer to.
 */
export function allocateYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}

/** V8's heap is limited, by what the machine or the cgroup has: see v8.getHeapStatistics(). */
export interface HeapOptions {
  /** That limit, in bytes. Absent: no matter. */
  heapBytes?: number;
}

/**
 * How much of a bound on what is kept in memory fits the heap, from 0 to 1.
 *
 * @param part of the heap that it may take
 * @param bytes that it would take in full
 */
export function heapShare(
  { heapBytes = Number.POSITIVE_INFINITY }: HeapOptions,
  part: number,
  bytes: number,
): number {
  return Math.min(1, (heapBytes * part) / bytes);
}
