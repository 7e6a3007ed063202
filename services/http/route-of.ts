// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';

/** The options of a request's route: Fastify would make them anew each time that they are asked for. */
export function routeOf(request: FastifyRequest): FastifyRequest['routeOptions'] {
  request.route ??= request.routeOptions;
  return request.route;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** See {@link routeOf}. */
    route: FastifyRequest['routeOptions'] | undefined;
  }
}
