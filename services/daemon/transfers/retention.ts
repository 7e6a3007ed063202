// SPDX-License-Identifier: Apache-2.0
import { type HeapOptions, heapShare } from '../../base/heap.ts';
import type { FinishedLimits } from './finished.ts';

/**
 * What is kept of those that are finished: of those whose clients have their ends, and of those
 * whose clients had a 202 and may come back for it. They are apart so that no number of the former
 * pushes out the latter.
 */
export type HistoryLimits = Record<'answered' | 'accepted202', FinishedLimits>;

/**
 * A week for those who come back from one. Of those whose clients have their ends, as many as an
 * operator looks through; of the others, as many as a client may have waiting.
 */
const WEEK_MS = 7 * 24 * 3600 * 1000;
const LIMITS: HistoryLimits = {
  answered: { transfers: 10_000, segments: 262_144, ms: WEEK_MS },
  accepted202: { transfers: 100_000, segments: 262_144, ms: WEEK_MS },
};
/**
 * What finished transfers and keys may take in all, by the heap's size: 1.2 KB each, and their segments. As bytes beside
 * the heap they take a third of that, and their keys and indexes some of the heap. 40 % is
 * for what waits: see order/work-queue.ts.
 */
const HEAP_PART = 0.4;
const HEAP_BYTES = 110_000 * 1200 + 2 * 262_144 * 64;

/** With a small heap, fewer are kept. */
export function historyLimits(options: HeapOptions): HistoryLimits {
  const share = heapShare(options, HEAP_PART, HEAP_BYTES);
  const shareOf = ({ transfers, segments, ms }: FinishedLimits): FinishedLimits => ({
    transfers: Math.floor(transfers * share),
    segments: Math.floor(segments * share),
    ms,
  });
  return { answered: shareOf(LIMITS.answered), accepted202: shareOf(LIMITS.accepted202) };
}
