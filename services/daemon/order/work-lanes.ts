// SPDX-License-Identifier: Apache-2.0
import type { Priority } from '../../base/vocabulary.ts';

/** Up to this size a transfer is small, and does not queue behind large ones. In bytes. */
const SMALL_BYTES = 2 ** 20;
/**
 * How many of a kind the engine works on at a time; it shares its threads among them by priority.
 * Small ones are many so that their completions come in batches; large ones few, for more would
 * only slow each other.
 */
const SMALL_SLOTS = 64;
const LARGE_SLOTS = 8;
const LANES = {
  high: { small: 0, large: 1 },
  normal: { small: 2, large: 3 },
  low: { small: 4, large: 5 },
  upload: 6,
  replication: 7,
} as const;
export const LANE_SLOTS = [
  ...[SMALL_SLOTS, LARGE_SLOTS],
  ...[SMALL_SLOTS, LARGE_SLOTS],
  ...[SMALL_SLOTS, LARGE_SLOTS],
  // An upload runs at its client's pace and holds half a MiB of buffers.
  256,
  // A replication runs at its peer's pace; all of them share their buffers.
  16,
];
/** How a client with a limited rate shares it among what it has waiting, by lane. */
export const LANE_WEIGHTS = [4, 4, 2, 2, 1, 1, 2, 1];

/** The lane of a transfer, by its share of the engine. */
export function transferLane(priority: Priority, bytes: number): number {
  return LANES[priority][bytes <= SMALL_BYTES ? 'small' : 'large'];
}

/** Of what overwrites bytes without being a transfer. */
export const UPLOAD_LANE = LANES.upload;
export const REPLICATION_LANE = LANES.replication;
/** What counts as a transfer that has not finished. */
export const TRANSFER_LANES = [...LANE_SLOTS.keys()].filter((lane) => lane !== UPLOAD_LANE);
