// SPDX-License-Identifier: Apache-2.0
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from './problems/problem.ts';

/** Headers of a connection, which the answer on it gets anew; and of ranges, for files are always sent whole. */
const NOT_PASSED_ON = ['connection', 'keep-alive', 'transfer-encoding', 'date', 'accept-ranges'];
/** Of a body, which a 304 has none of: a cache would take them for those of the file that it has. */
const OF_A_BODY = ['content-type', 'content-length'];

/**
 * A route's handler whose answers another app makes, which is loaded when the first request comes: what people look at
 * now and then takes no time of each start.
 *
 * @param load makes that app, with routes of the same paths; is called again if it fails
 */
export function deferred(load: () => Promise<FastifyInstance>) {
  let loading: Promise<FastifyInstance> | undefined;
  const handler = async ({ url, headers }: FastifyRequest, reply: FastifyReply) => {
    loading ??= load();
    const app = await loading.catch((error) => {
      loading = undefined;
      throw error;
    });
    // Also for HEAD, of which Node leaves the body out: so its length is known.
    const { range: _range, ...passedOn } = headers;
    const answer = await app.inject({ method: 'GET', url, headers: passedOn });
    if (answer.statusCode >= 400) throw errorOf(answer.statusCode, url);
    const unchanged = answer.statusCode === 304;
    reply.code(answer.statusCode);
    for (const [name, value] of Object.entries(answer.headers)) {
      if (value === undefined || NOT_PASSED_ON.includes(name)) continue;
      if (unchanged && OF_A_BODY.includes(name)) continue;
      reply.header(name, value);
    }
    return reply.send(unchanged ? undefined : answer.rawPayload);
  };
  // Not left to Fastify, whose HEAD of a GET gives a 304 a length of 0.
  return { method: ['GET', 'HEAD'], handler };
}

/** @returns a Problem, or an error that is the service's own */
function errorOf(status: number, url: string): Error {
  const [path = ''] = url.split('?', 1);
  switch (status) {
    case 403: // a path that leaves its directory
    case 404:
      return new Problem(
        'not_found',
        `There is nothing at ${path}; GET /docs shows what there is.`,
      );
    case 412:
      return new Problem(
        'precondition_failed',
        `${path} is not what If-Match or If-Unmodified-Since says.`,
      );
    default:
      return new Error(`${path} is answered ${status}`);
  }
}
