// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';

/** How often the rate is asked for again, which may have changed, in milliseconds. */
const ASK_MS = 1000;

/**
 * Counts bytes that a client has moved.
 *
 * @param bytes that it moved since
 * @returns how long it should wait before it moves more, in milliseconds; 0: not at all
 */
export type Pace = (bytes: number) => number;

/**
 * Counts bytes, and waits as long as their client should, but no longer than until the signal.
 *
 * @returns whether it had to wait
 */
export async function throttle(pace: Pace, bytes: number, signal: AbortSignal): Promise<boolean> {
  let waited = false;
  for (let ms = pace(bytes); ms > 0 && !signal.aborted; ms = pace(0)) {
    waited = true;
    await sleep(Math.min(ms, ASK_MS), undefined, { signal }).catch(() => {});
  }
  return waited;
}
