// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { ANSWERED } from './lingering-close.ts';
import { readPrefer } from './prefer.ts';
import { routeOf } from './route-of.ts';
import { syncHook } from './sync-hook.ts';

/** Where RFC 6750 lets clients put tokens, but this daemon does not look: none goes into the log. */
const TOKEN_IN_QUERY = /([?&]access_token=)[^&]*/gi;

/** What decides how long an answer takes: the daemon alone, or something else. */
export type RequestKind = 'plain' | 'wait' | 'content' | 'stream';

/** A request that has its answer, or whose client did not wait for all of it. */
export interface AnsweredRequest {
  method: string;
  /** Its pattern; undefined if there is none. */
  route: string | undefined;
  kind: RequestKind;
  /** `client_closed`: the client left before the end; `broken_off`: the daemon ended it early. */
  status: number | 'client_closed' | 'broken_off';
  /** From its header to the end of its answer. */
  ms: number;
}

export interface RequestLogOptions {
  onAnswered(answered: AnsweredRequest): void;
}

/** Gives each request an id in its answer, and one line in the log once that has ended. */
export default fp<RequestLogOptions>(
  async (app, { onAnswered }) => {
    app.addHook(
      'onRequest',
      syncHook((request, reply) => {
        reply.header('x-request-id', request.id);
        const { raw } = reply;
        let open = true;
        const end = (status: AnsweredRequest['status']) => {
          if (open) ended(request, reply, status);
          open = false;
        };
        raw.once('finish', () => end(raw.statusCode)).once(ANSWERED, () => end(raw.statusCode));
        raw.once('close', () => end(raw.errored ? 'broken_off' : 'client_closed'));
      }),
    );

    function ended(
      request: FastifyRequest,
      reply: FastifyReply,
      status: AnsweredRequest['status'],
    ) {
      const { method } = request;
      const { url: route, config } = routeOf(request);
      const url = request.url.replace(TOKEN_IN_QUERY, '$1…');
      const { elapsedTime: ms } = reply;
      onAnswered({ method, route, kind: kindOf(request), status, ms });
      // Probes and scrapes come every few seconds and say nothing.
      const level = config.quiet ? 'debug' : 'info';
      request.log[level](
        { method, url, status, duration_ms: Math.round(ms * 1000) / 1000 },
        'request',
      );
    }
  },
  { name: 'request-log' },
);

function kindOf(request: FastifyRequest): RequestKind {
  const { kind = 'plain', waitsMs } = routeOf(request).config;
  if (waitsMs === undefined) return kind;
  return readPrefer(request.headers.prefer as string | undefined, waitsMs).waitMs > 0
    ? 'wait'
    : kind;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Asked by machines, often: logged at debug level only. */
    quiet?: boolean;
    /** Plain if absent. */
    kind?: RequestKind;
    /** How long it waits for a transfer, in milliseconds, unless `Prefer` says otherwise. */
    waitsMs?: number;
  }
}
