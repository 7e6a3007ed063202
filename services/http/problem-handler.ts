// SPDX-License-Identifier: Apache-2.0
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { staysReadable } from './lingering-close.ts';
import {
  OutcomeUnknown,
  PROBLEMS,
  Problem,
  type ProblemCode,
  problemDetails,
} from './problems/problem.ts';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** Renders whatever a route throws as problem details, and logs what was not foreseen. */
export default fp(
  async (app) => {
    app.setErrorHandler(sendProblem);
  },
  { name: 'problem-handler' },
);

/** Answers a request with the problem that an error is. */
export function sendProblem(
  error: FastifyError | Problem | OutcomeUnknown,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  if (error instanceof OutcomeUnknown) {
    request.log.error({ err: error }, 'closed without an answer: the outcome is not known');
    reply.hijack();
    request.raw.socket.destroy();
    return;
  }
  const problem = asProblem(error, request.routeOptions.schema?.consumes);
  if (problem.code === 'internal_error') request.log.error(error, 'request failed');
  request.problem = problem.code;
  const { headers, members } = problem.options;
  const body: unknown = { ...problemDetails(problem, request.id), ...members };
  const staysOpen = reply.raw.shouldKeepAlive && staysReadable(request.raw);
  // Fastify's parsers close the connection, though they may have read the whole body.
  if (!staysOpen || reply.hasHeader('connection')) {
    reply.header('connection', staysOpen ? 'keep-alive' : 'close');
  }
  void reply
    .code(problem.status)
    .header('x-request-id', request.id)
    .header('cache-control', 'no-store')
    .headers(headers ?? {})
    .type(PROBLEM_TYPE)
    .serializer(JSON.stringify)
    .send(body);
}

/**
 * The problem that an error is: itself, or what stands for an error of Fastify's own.
 *
 * @param consumes media types that the route takes
 */
export function asProblem(
  error: FastifyError | Problem,
  consumes: readonly string[] = ['application/json'],
): Problem {
  if (error instanceof Problem) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new Problem('unsupported_media_type', `Send the body as ${consumes.join(' or ')}.`);
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Problem('payload_too_large', 'A JSON body may have up to 1 MiB.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      // No id and no device name is as long.
      return new Problem('not_found', 'Nothing here has a name as long as one in this path.');
  }
  const status = error.statusCode ?? 500;
  const code = (Object.keys(PROBLEMS) as ProblemCode[]).find(
    (candidate) => PROBLEMS[candidate].status === status,
  );
  if (code !== undefined && status < 500) return new Problem(code, `${error.message}.`);
  return new Problem(
    'internal_error',
    'Something unforeseen happened; the log has it under the request id.',
  );
}
