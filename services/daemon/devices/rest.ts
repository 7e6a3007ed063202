// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';

/** Of a timer, in milliseconds; one that is longer ends at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Waits so many milliseconds, however many, but no longer than until the signal. */
export async function rest(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0) return;
  const until = performance.now() + ms;
  for (let left = ms; left > 0 && !signal.aborted; left = until - performance.now()) {
    await sleep(Math.min(left, LONGEST_MS), undefined, { signal }).catch(() => {});
  }
}
