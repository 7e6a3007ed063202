// SPDX-License-Identifier: Apache-2.0

/** What a daemon's token can be good for; the HTTP contract's names. */
export const SCOPES = [
  'transfers:read',
  'transfers:write',
  'transfers:all',
  'content:read',
  'content:write',
  'metrics:read',
] as const;
/** A fleet's tokens can have one more: it adds hosts and removes them. */
export const FLEET_SCOPES = [...SCOPES, 'fleet:admin'] as const;
export type Scope = (typeof FLEET_SCOPES)[number];

/** What a route asks of its client. `client`: to be one; scopes: to have at least one of them. */
export type RouteAccess = 'public' | 'client' | Scope | readonly Scope[];

/** The scopes of which a route asks for one; empty if it asks for none. */
export function scopesOf(access: RouteAccess): readonly Scope[] {
  if (access === 'public' || access === 'client') return [];
  return typeof access === 'string' ? [access] : access;
}

/** For routes that show transfers. */
export const SEES_TRANSFERS = ['transfers:read', 'transfers:all'] as const;
/** For routes that change or cancel a transfer that there is. */
export const CHANGES_TRANSFERS = ['transfers:write', 'transfers:all'] as const;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route says it; the daemon does not start with one that does not. */
    access?: RouteAccess;
  }
}
