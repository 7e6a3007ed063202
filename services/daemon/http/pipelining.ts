// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import type http from 'node:http';
import type { Socket } from 'node:net';
import { Problem } from '../problems/problem.ts';

/** Nearly no client pipelines at all. Each answer may be megabytes that are not read, or a wait. */
const MAX_UNANSWERED = 16;

/**
 * Bounds what one connection may have asked for and not been answered: beyond that it is closed.
 * And has every answer hear that its connection is gone, where Node tells only the one whose turn
 * it is: what waits behind that would hold its client's place for ever.
 */
export function boundPipelines(server: http.Server): void {
  const connections = new WeakMap<Socket, Set<http.ServerResponse>>();

  function unansweredOf(socket: Socket): Set<http.ServerResponse> {
    const known = connections.get(socket);
    if (known !== undefined) return known;
    const unanswered = new Set<http.ServerResponse>();
    connections.set(socket, unanswered);
    socket.once('close', () => {
      for (const response of unanswered) {
        if (response.socket !== null) continue;
        response.destroy();
        response.emit('close');
      }
    });
    return unanswered;
  }

  function track({ socket }: http.IncomingMessage, response: http.ServerResponse): void {
    const unanswered = unansweredOf(socket);
    unanswered.add(response);
    response.once('close', () => unanswered.delete(response));
    if (unanswered.size > MAX_UNANSWERED) socket.destroy();
  }

  server.prependListener('request', track);
  server.prependListener('checkContinue', track);
}

/**
 * Waits until all that was asked for before on the same connection has been answered. For what holds
 * something that others want until its answer has been taken: what comes before may never end.
 *
 * @param left ends the wait, as nobody wants an answer any more
 * @throws Problem cancelled, where it does
 */
export async function untilItsTurn(
  { raw }: { raw: http.ServerResponse },
  left: AbortSignal,
): Promise<void> {
  if (raw.socket === null) await once(raw, 'socket', { signal: left }).catch(() => {});
  if (left.aborted) throw new Problem('cancelled', 'The client went away.');
}
