// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';

/**
 * A hook that refuses a request by throwing, or lets it pass at once: without the promise that an
 * async function would make for each request.
 *
 * @param check returns nothing: an async function would refuse what has passed already
 */
export function syncHook(
  check: (request: FastifyRequest, reply: FastifyReply) => undefined,
): onRequestHookHandler {
  return (request, reply, done) => {
    check(request, reply);
    done();
  };
}
