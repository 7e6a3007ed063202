// SPDX-License-Identifier: Apache-2.0

import type { ServerResponse } from 'node:http';
import type { RequestPayload } from 'fastify';
import { Slots } from '../base/slots.ts';
import { Problem } from './problems/problem.ts';

/** How long a JSON body may take to arrive, so that no one holds a request open for nothing. */
export const BODY_TIMEOUT_MS = 30_000;

interface ArrivingBody {
  payload: RequestPayload;
  /** In milliseconds. */
  since: number;
  /** Its number while it arrives. */
  number: number | undefined;
}

/** Bodies on their way. They are looked at now and then: a timer for each would cost more. */
export class ArrivingBodies {
  readonly #arriving = new Slots<ArrivingBody>();

  get size(): number {
    return this.#arriving.size;
  }

  /**
   * A body is about to be read.
   *
   * @param now milliseconds of a clock that does not step
   */
  add(payload: RequestPayload, answer: Pick<ServerResponse, 'once'>, now: number): void {
    const body: ArrivingBody = { payload, since: now, number: undefined };
    body.number = this.#arriving.add(body);
    const arrived = () => this.#remove(body);
    payload.once('end', arrived);
    // Also where an answer went out before the body was there whole, and where nobody is left.
    answer.once('close', arrived);
  }

  /** Refuses what has taken too long. */
  check(now: number): void {
    for (const body of this.#arriving) {
      const { payload, since } = body;
      if (now - since < BODY_TIMEOUT_MS) continue;
      this.#remove(body);
      // Only whoever parses the body listens; where an answer went out before, nobody does.
      if (payload.listenerCount('error') === 0) continue;
      const detail = `The body did not arrive within ${BODY_TIMEOUT_MS / 1000} s.`;
      const headers = { connection: 'close' };
      // Not destroy(): that would close the connection before the answer is on it.
      payload.emit('error', new Problem('request_timeout', detail, { headers }));
    }
  }

  #remove(body: ArrivingBody): void {
    if (body.number === undefined) return;
    this.#arriving.remove(body.number);
    body.number = undefined;
  }
}
