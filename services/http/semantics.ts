// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { Problem } from './problems/problem.ts';
import { problemResponses } from './problems/schema.ts';
import { syncHook } from './sync-hook.ts';

const SAFE_METHODS: readonly string[] = ['GET', 'HEAD'];
/** What each route that changes something can answer: its body is read, if only to be dropped. */
const UNSAFE_PROBLEMS = [
  'precondition_failed',
  'request_timeout',
  'payload_too_large',
  'unsupported_media_type',
] as const;
const CONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since', 'if-modified-since'];

/**
 * What RFC 9110 and RFC 9112 ask of every route: a transfer coding that is not understood is refused
 * before a byte of the body counts. Conditions are for the handlers: see {@link checkConditions}.
 */
export default fp(
  async (app) => {
    app.addHook('onRoute', ({ method, schema }) => {
      if (schema === undefined || isSafe(method)) return;
      const response = schema.response as object;
      schema.response = { ...problemResponses(...UNSAFE_PROBLEMS), ...response };
    });
    app.addHook(
      'onRequest',
      syncHook((request, reply) => {
        // All of it changes, but for the files of Swagger UI, which say so themselves.
        reply.header('cache-control', 'no-store');
        checkTransferCoding(request);
      }),
    );
  },
  { name: 'semantics' },
);

/** Whether the client waits for "100 Continue" before it sends its body (RFC 9110, 10.1.1). */
export function awaitsContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion !== '1.0';
}

function isSafe(method: string | string[]): boolean {
  return [method].flat().every((each) => SAFE_METHODS.includes(each));
}

/** Of a list of codings Node decodes only "chunked", and hands over the rest as it came. */
function checkTransferCoding({ raw }: FastifyRequest): void {
  const coding = raw.headers['transfer-encoding'];
  if (coding === undefined) return;
  const headers = { connection: 'close' };
  if (raw.httpVersion === '1.0') {
    const detail = 'HTTP/1.0 has no Transfer-Encoding: send a Content-Length, or HTTP/1.1.';
    throw new Problem('invalid_request', detail, { headers });
  }
  if (coding.trim().toLowerCase() !== 'chunked') {
    const detail = 'The only Transfer-Encoding supported is chunked: send the body as it is.';
    throw new Problem('unsupported_transfer_coding', detail, { headers });
  }
}

/**
 * Refuses a request with a condition, such as If-Match, that does not hold. Each handler that changes
 * something calls it before it does, and after it has checked the client's rights and found the target:
 * a request that is refused anyway is answered with that (RFC 9110, 13.2.1).
 *
 * @throws Problem precondition_failed
 */
export function checkConditions(request: FastifyRequest): void {
  const failed = failedCondition(request);
  if (failed === undefined) return;
  throw new Problem(
    'precondition_failed',
    `The condition in ${failed} does not hold: nothing here has an ETag or a modification date. ` +
      'Nothing was changed.',
  );
}

/** The same, if nothing else needs the target before it is changed. @param find throws if it is not there */
export async function checkConditionsOf(
  request: FastifyRequest,
  find: () => Promise<unknown>,
): Promise<void> {
  if (failedCondition(request) === undefined) return;
  await find();
  checkConditions(request);
}

/**
 * Nothing here has an entity tag or a modification date, so the only condition that can hold is that
 * the target exists. What cannot be known to hold is refused.
 */
function failedCondition({ headers }: FastifyRequest): string | undefined {
  return CONDITIONS.find((name) => {
    const value = headers[name];
    return value !== undefined && !(name === 'if-match' && value === '*');
  });
}
