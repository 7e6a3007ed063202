// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';

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
  if (isClosed(raw) || also?.aborted) leave();
  raw.once('close', leave);
  if (also !== undefined) {
    also.addEventListener('abort', leave);
    raw.once('close', () => also.removeEventListener('abort', leave));
  }
  return left.signal;
}

/** Whether nobody waits for an answer any more. */
export function isClosed({ closed, destroyed }: Writable): boolean {
  // What waited behind another answer when its connection closed is destroyed, and not closed.
  return closed || destroyed;
}
