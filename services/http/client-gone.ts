// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { Problem } from './problems/problem.ts';

/** Made once: the reason that a signal has by itself is made anew each time, stack and all. */
const GONE = new Problem('invalid_request', 'The client left before it was answered.');

/**
 * A signal that aborts once nobody waits for the answer any more: its client is gone, or it was sent.
 *
 * @param also aborts it too, with its own reason
 */
export function clientGone({ raw }: { raw: ServerResponse }, also?: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const close = () => gone.abort(GONE);
  if (isClosed(raw)) close();
  raw.once('close', close);
  if (also !== undefined) {
    const follow = () => gone.abort(also.reason);
    if (also.aborted) follow();
    also.addEventListener('abort', follow);
    raw.once('close', () => also.removeEventListener('abort', follow));
  }
  return gone.signal;
}

/** Whether the answer was sent, or its connection is gone. */
export function isClosed({ closed, destroyed }: Writable): boolean {
  return closed || destroyed;
}
