// SPDX-License-Identifier: Apache-2.0
import { maxHeaderSize } from 'node:http';
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import fp from 'fastify-plugin';
import findMyWay from 'find-my-way';
import { preferredType } from './accept.ts';
import { Problem } from './problems/problem.ts';
import { routeOf } from './route-of.ts';
import { METHODS } from './server.ts';
import { syncHook } from './sync-hook.ts';

/**
 * A parameter of a path, such as a device's name, may be as long as Node lets the path be: routes say
 * themselves what is wrong with one, where the router would say that there is no such route.
 */
export const MAX_PARAMETER_LENGTH = maxHeaderSize;

const JSON_ONLY = ['application/json; charset=utf-8'];

/**
 * What is decided from the request line and header alone, before a body is read: whether there is
 * such a route (404), whether it takes the method (405), and whether it takes bodies so encoded (415), and whether
 * the client accepts what it produces (406).
 */
export default fp(
  async (app) => {
    // Fastify finds routes by method and path; to tell 405 from 404 they are found by path alone.
    const paths = findMyWay({ maxParamLength: MAX_PARAMETER_LENGTH });
    const methodsOf = new Map<string, Set<string>>();

    app.addHook('onRoute', ({ url, method }) => {
      let methods = methodsOf.get(url);
      if (methods === undefined) {
        methods = new Set();
        methodsOf.set(url, methods);
        paths.on('GET', url, () => {}, { methods });
      }
      for (const each of [method].flat()) methods.add(each);
    });

    // For a route that finds nothing itself, such as a file of Swagger UI that there is not.
    app.setNotFoundHandler((request) => {
      const [path = ''] = request.url.split('?', 1);
      throw new Problem('not_found', `There is nothing at ${path}; GET /docs shows what there is.`);
    });

    const checkMethod = (request: FastifyRequest) => {
      const [path = ''] = request.url.split('?', 1);
      const found = paths.find('GET', path);
      if (found === null) {
        throw new Problem('not_found', `There is no route ${path}; GET /docs shows all.`);
      }
      const { methods } = found.store as { methods: Set<string> };
      if (methods.has(request.method)) return;
      const allow = [...methods].sort().join(', ');
      throw new Problem('method_not_allowed', `${path} takes ${allow}, not ${request.method}.`, {
        headers: { allow },
      });
    };

    const checkHeader = (request: FastifyRequest, reply: FastifyReply): undefined => {
      // A route with parameters also gets the paths of a static one that does not take the method:
      // GET /transfers/batch would be a transfer of that name.
      if (request.is404 || routeOf(request).url?.includes(':')) checkMethod(request);
      const coding = request.headers['content-encoding'];
      if (coding !== undefined && coding.toLowerCase() !== 'identity') {
        const detail = 'Bodies are taken as they are: send it without a Content-Encoding.';
        throw new Problem('unsupported_media_type', detail, {
          headers: { 'accept-encoding': 'identity' },
        });
      }
      const { produces = JSON_ONLY } = routeOf(request).config;
      if (produces.length > 1) reply.header('vary', 'Accept');
      if (produces.length > 0 && preferredType(request.raw, produces) === undefined) {
        const detail = `This route answers with ${produces.join(' or ')}: accept that.`;
        throw new Problem('not_acceptable', detail);
      }
    };
    app.addHook('onRequest', describeServer);
    app.addHook('onRequest', syncHook(checkHeader));
  },
  { name: 'routing' },
);

/** Answers `OPTIONS *`, which asks about the server and no route of it (RFC 9110, 9.3.7). */
const describeServer: onRequestHookHandler = (request, reply, done) => {
  if (request.originalUrl === '*' && request.method === 'OPTIONS') {
    reply.code(204).header('allow', METHODS).send();
  } else {
    done();
  }
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Media types of the route's answer, with their parameters, for a client may ask for those too;
     * JSON where absent, anything where empty.
     */
    produces?: string[];
  }
}
