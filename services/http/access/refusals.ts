// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { JSON_BODY_LIMIT } from '../json-body.ts';
import { retryLater } from '../problems/problem.ts';
import { problemResponses } from '../problems/schema.ts';
import { routeOf } from '../route-of.ts';
import { ANONYMOUS } from './client.ts';

/**
 * What a client may have refused in a second: so many requests, or so many KiB of their bodies,
 * which are read and looked at before they are. Who makes no mistakes never meets it.
 */
const MAX_A_SECOND = 20_000;
const WINDOW_MS = 1000;
/** What a body of unknown length counts for, in bytes. */
const UNKNOWN_LENGTH = 2 ** 16;

/**
 * Refuses all further requests of a client for the rest of the second in which too many of its
 * requests were wrong, before their bodies are read. (A client without a token is refused so anyway.)
 */
export default fp(
  async (app) => {
    let since = performance.now();
    const refused = new Map<string, number>();

    app.addHook('onRoute', ({ config, schema }) => {
      if (schema === undefined || config?.access === 'public') return;
      const response = schema.response as object;
      schema.response = { ...problemResponses('too_many_refusals'), ...response };
    });
    app.addHook('onRequest', (request, _reply, done) => {
      const { access, quiet } = routeOf(request).config;
      if (access === 'public' || quiet || (refused.get(nameOf(request)) ?? 0) < MAX_A_SECOND) {
        done();
        return;
      }
      if (performance.now() - since < WINDOW_MS) {
        const detail = "Too many of this client's requests were wrong: mend them, and retry later.";
        done(retryLater('too_many_refusals', detail));
        return;
      }
      done();
    });
    app.addHook('onResponse', (request, reply, done) => {
      const status = reply.raw.statusCode;
      if (status >= 400 && status < 500 && request.client !== undefined) {
        const now = performance.now();
        if (now - since >= WINDOW_MS) {
          refused.clear();
          since = now;
        }
        const name = nameOf(request);
        refused.set(name, (refused.get(name) ?? 0) + weightOf(request));
      }
      done();
    });
  },
  { name: 'refusals', dependencies: ['access'] },
);

function nameOf({ client, peer }: FastifyRequest): string {
  return client.name === ANONYMOUS ? `${ANONYMOUS} ${peer.address}` : client.name;
}

function weightOf(request: FastifyRequest): number {
  const { headers } = request;
  const bytes =
    headers['transfer-encoding'] === undefined
      ? Number(headers['content-length'] ?? 0)
      : UNKNOWN_LENGTH;
  // What is too long is refused unread; an upload is looked at as little.
  const unread = bytes > JSON_BODY_LIMIT || routeOf(request).config.streamsBody;
  return unread ? 1 : 1 + bytes / 1024;
}
