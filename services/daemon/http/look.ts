// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';

/**
 * A hook that looks at a request and refuses it by throwing, or lets it pass at once: without the
 * promise that an async function would make for each request.
 *
 * @param at returns nothing: an async function would refuse what has passed already
 */
export function look(
  at: (request: FastifyRequest, reply: FastifyReply) => undefined,
): onRequestHookHandler {
  return (request, reply, done) => {
    at(request, reply);
    done();
  };
}
