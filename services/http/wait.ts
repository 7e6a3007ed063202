// SPDX-License-Identifier: Apache-2.0
import type { Writable } from 'node:stream';
import { isClosed } from './client-gone.ts';

/**
 * Waits for what a watcher hears of.
 *
 * @param watch begins to watch, and calls back once there is nothing to wait for; returns what ends
 *   the watch
 * @param waitMs how long to wait at most, in milliseconds
 * @param answer for which it waits: once that is closed, nobody waits any more
 */
export async function waitWhile(
  watch: (done: () => void) => () => void,
  waitMs: number,
  answer?: Writable,
): Promise<void> {
  if (waitMs <= 0 || (answer !== undefined && isClosed(answer))) return;
  await new Promise<void>((resolve) => {
    const timer = Number.isFinite(waitMs) ? setTimeout(end, waitMs) : undefined;
    const unwatch = watch(end);
    answer?.on('close', end);
    function end() {
      answer?.off('close', end);
      clearTimeout(timer);
      unwatch();
      resolve();
    }
  });
}
