// SPDX-License-Identifier: Apache-2.0
import fp from 'fastify-plugin';
import { syncHook } from './sync-hook.ts';

/** Where RFC 6750 lets clients put tokens, but this daemon does not look: none goes into the log. */
const TOKEN_IN_QUERY = /([?&]access_token=)[^&]*/gi;

export interface RequestLogOptions {
  /** Hears of each request that is answered; the route is its pattern, where there is one. */
  onAnswered(method: string, route: string | undefined, status: number, ms: number): void;
}

/** Gives each request an id in its answer, and one line in the log once it is answered. */
export default fp<RequestLogOptions>(
  async (app, { onAnswered }) => {
    app.addHook(
      'onRequest',
      syncHook((request, reply) => {
        reply.header('x-request-id', request.id);
      }),
    );
    app.addHook('onResponse', (request, reply, done) => {
      const { method, routeOptions } = request;
      const url = request.url.replace(TOKEN_IN_QUERY, '$1…');
      const { elapsedTime } = reply;
      const status = reply.raw.statusCode;
      onAnswered(method, routeOptions.url, status, elapsedTime);
      // Probes and scrapes come every few seconds and say nothing.
      const level = routeOptions.config.quiet ? 'debug' : 'info';
      const duration_ms = Math.round(elapsedTime * 1000) / 1000;
      request.log[level]({ method, url, status, duration_ms }, 'request');
      done();
    });
  },
  { name: 'request-log' },
);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Asked by machines, often: logged at debug level only. */
    quiet?: boolean;
  }
}
