// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';

/** Not the reason that it has by itself: that is made anew each time, stack and all. */
const LEFT = new Error('nobody waits for the answer');

/**
 * A signal that nobody waits for an answer any more: its client went away, or it was sent.
 *
 * @param also what ends the wait as well
 */
export function clientLeft({ raw }: { raw: ServerResponse }, also?: AbortSignal): AbortSignal {
  const left = new AbortController();
  const leave = () => left.abort(LEFT);
  // What waited behind another answer when its connection closed is destroyed, and not closed.
  if (raw.closed || raw.destroyed || also?.aborted) leave();
  raw.once('close', leave);
  if (also !== undefined) {
    also.addEventListener('abort', leave);
    raw.once('close', () => also.removeEventListener('abort', leave));
  }
  return left.signal;
}
