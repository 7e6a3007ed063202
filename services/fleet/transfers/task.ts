// SPDX-License-Identifier: Apache-2.0
import type { RunningRecord } from './record.ts';

/** Where one transfer is on its way to its end, for the owner of its host. */
export interface Task {
  record: RunningRecord;
  stage: /** Waits for its turn, or for its host. */
    | 'waiting'
    /** Waits for other transfers' ends. */
    | 'held'
    /** The host has it. */
    | 'handed_over'
    /** Its end is being written. */
    | 'ending';
  /** The host may have it, though it has not said so. */
  attempted: boolean;
  cancel: boolean;
  /** Since when this gateway has it, by performance.now(). */
  since: number;
  /** When the host last reported it, by performance.now(). */
  reportedAt: number;
}

/** Longer ago than any host may be silent. */
export const NEVER = Number.NEGATIVE_INFINITY;
