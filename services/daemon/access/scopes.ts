// SPDX-License-Identifier: Apache-2.0

/** What a token can be good for; the HTTP contract's names. */
export const SCOPES = [
  'transfers:read',
  'transfers:write',
  'content:read',
  'content:write',
  'metrics:read',
] as const;
export type Scope = (typeof SCOPES)[number];

/**
 * What a route asks of its client. `public`: nothing; `client`: to be one, with whatever scopes;
 * else to be one with that scope.
 */
export type RouteAccess = 'public' | 'client' | Scope;

export function isScope(access: RouteAccess): access is Scope {
  return access !== 'public' && access !== 'client';
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route says it; the daemon does not start with one that does not. */
    access?: RouteAccess;
  }
}
