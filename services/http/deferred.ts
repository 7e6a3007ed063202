// SPDX-License-Identifier: Apache-2.0
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from './problems/problem.ts';

/** Of one connection, or set by whoever answers on it. */
const NOT_PASSED_ON = ['connection', 'keep-alive', 'transfer-encoding', 'date'];

/**
 * A handler whose answers another app makes, which is loaded when the first request comes: what people look at
 * now and then takes no time of each start.
 *
 * @param load makes that app, with routes of the same paths; is called again if it fails
 */
export function deferred(load: () => Promise<FastifyInstance>) {
  let loading: Promise<FastifyInstance> | undefined;
  return async ({ url, headers }: FastifyRequest, reply: FastifyReply) => {
    loading ??= load();
    const app = await loading.catch((error) => {
      loading = undefined;
      throw error;
    });
    // Also for HEAD, of which Fastify leaves the body out: so its length is known.
    const answer = await app.inject({ method: 'GET', url, headers });
    if (answer.statusCode === 404) {
      const [path = ''] = url.split('?', 1);
      throw new Problem('not_found', `There is nothing at ${path}; GET /docs shows what there is.`);
    }
    reply.code(answer.statusCode);
    for (const [name, value] of Object.entries(answer.headers)) {
      if (value !== undefined && !NOT_PASSED_ON.includes(name)) reply.header(name, value);
    }
    return reply.send(answer.rawPayload);
  };
}
