// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { routeOf } from '../route-of.ts';
import type { ClientUse } from './client.ts';
import { scopesOf } from './scopes.ts';

/** The largest integer that a structured field can have (RFC 9651, 3.3.1). */
const MAX_INTEGER = 999_999_999_999_999;

export interface RateLimitOptions {
  useOf(client: string): ClientUse;
}

/**
 * Tells clients whose token has limits what they may take and what is left of it, with each answer
 * of a route that takes of it (draft-ietf-httpapi-ratelimit-headers).
 */
export default fp<RateLimitOptions>(
  async (app, { useOf }) => {
    // Content is sent past Fastify, with what is left before it.
    app.addHook('preHandler', (request, reply, done) => {
      setHeaders(request, reply);
      done();
    });
    app.addHook('onSend', (request, reply, payload, done) => {
      setHeaders(request, reply);
      done(null, payload);
    });

    function setHeaders(request: FastifyRequest, reply: FastifyReply): void {
      const takes = request.client === undefined ? [] : takesOf(request);
      if (takes.length === 0) return;
      const use = useOf(request.client.name);
      const limits = describe(use).filter(({ name }) => takes.includes(name));
      if (limits.length === 0) return;
      reply.header('ratelimit-policy', limits.map(({ policy }) => policy).join(', '));
      reply.header('ratelimit', limits.map(({ left }) => left).join(', '));
    }
  },
  { name: 'rate-limit', dependencies: ['access'] },
);

type Limited = 'transfers' | 'bytes';

/** What of that is limited a route takes: what makes transfers, reads content or writes it. */
function takesOf(request: FastifyRequest): Limited[] {
  const { access } = routeOf(request).config;
  const [scope, ...others] = access === undefined ? [] : scopesOf(access);
  if (scope === undefined || others.length > 0) return [];
  if (scope === 'transfers:write') return ['transfers', 'bytes'];
  return scope === 'content:read' || scope === 'content:write' ? ['bytes'] : [];
}

function describe({ limits, transfersInFlight, spendableBytes = 0, owedMs }: ClientUse) {
  const described: { name: Limited; policy: string; left: string }[] = [];
  if (limits.transfersInFlight !== undefined) {
    const left = Math.max(0, limits.transfersInFlight - transfersInFlight);
    described.push({
      name: 'transfers',
      policy: `"transfers";q=${integer(limits.transfersInFlight)};qu="concurrent-requests"`,
      left: `"transfers";r=${integer(left)}`,
    });
  }
  if (limits.bytesPerSecond !== undefined) {
    const owed = owedMs > 0 ? `;t=${Math.ceil(owedMs / 1000)}` : '';
    described.push({
      name: 'bytes',
      policy: `"bytes";q=${integer(limits.bytesPerSecond)};qu="content-bytes";w=1`,
      left: `"bytes";r=${integer(spendableBytes)}${owed}`,
    });
  }
  return described;
}

function integer(value: number): number {
  return Math.min(value, MAX_INTEGER);
}
