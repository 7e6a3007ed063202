// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { Problem } from './problems/problem.ts';

/** Made once: the reason that a signal has by itself is made anew each time, stack and all. */
const LEFT = new Problem('invalid_request', 'The client left before it was answered.');

/**
 * A signal that nobody waits for an answer any more: its client went away, or it was sent.
 *
 * @param also what ends the wait as well, for its own reason
 */
export function clientLeft({ raw }: { raw: ServerResponse }, also?: AbortSignal): AbortSignal {
  const left = new AbortController();
  const leave = () => left.abort(LEFT);
  if (isClosed(raw)) leave();
  raw.once('close', leave);
  if (also !== undefined) {
    const follow = () => left.abort(also.reason);
    if (also.aborted) follow();
    also.addEventListener('abort', follow);
    raw.once('close', () => also.removeEventListener('abort', follow));
  }
  return left.signal;
}

/** Whether the answer was sent, or its connection is gone. */
export function isClosed({ closed, destroyed }: Writable): boolean {
  return closed || destroyed;
}
