// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { API_VERSION, DAEMON_VERSION } from '../../base/version.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';

const readySchema = z
  .object({
    ready: z.boolean(),
    waiting_for: z.array(z.string()),
    degraded: z.array(z.string()).optional().meta({ description: 'Hosts that are not ready.' }),
  })
  .meta({ id: 'FleetReadiness' });

const versionSchema = z
  .object({
    fleet: z.string(),
    api: z.object({ major: z.int(), minor: z.int() }).meta({
      description: 'Of this interface: within a major version there are only additions.',
    }),
    node: z.string(),
  })
  .meta({ id: 'FleetVersion' });

const common = problemResponses();

export interface HealthRoutesOptions {
  mirror: Mirror;
  membership: Membership;
  /** How many hosts are not ready: who has no token learns no names. */
  notReady(): number;
}

/** Why a gateway accepts nothing. */
export function waitingFor({ mirror, membership }: HealthRoutesOptions): string[] {
  const { health } = membership;
  if (health.is === 'away') return ['etcd: it cannot be reached'];
  if (health.is === 'full') return ['etcd: no space left (alarm NOSPACE)'];
  return mirror.current ? [] : ['etcd: reading what it has'];
}

export const healthRoutes: FastifyPluginAsyncZod<HealthRoutesOptions> = async (app, options) => {
  app.get(
    '/livez',
    {
      config: { access: 'public', quiet: true },
      schema: {
        operationId: 'isLive',
        summary: 'Whether the gateway is alive',
        description: 'Asks neither etcd nor a host.',
        tags: ['health'],
        response: {
          200: z.object({ status: z.literal('ok') }).meta({ description: 'It is alive.' }),
          ...common,
        },
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  app.get(
    '/readyz',
    {
      config: { access: 'public', quiet: true },
      schema: {
        operationId: 'isReady',
        summary: 'Whether the gateway accepts transfers',
        tags: ['health'],
        response: {
          200: readySchema.meta({ description: 'It accepts transfers.' }),
          503: readySchema.meta({
            description: 'It accepts none until what `waiting_for` names is there.',
          }),
          ...common,
        },
      },
    },
    async (_request, reply) => {
      const waiting_for = waitingFor(options);
      const ready = waiting_for.length === 0;
      const count = options.notReady();
      const degraded = count > 0 ? [`hosts that are not ready: ${count}`] : [];
      return reply
        .code(ready ? 200 : 503)
        .send({ ready, waiting_for, ...(degraded.length > 0 && { degraded }) });
    },
  );

  app.get(
    '/version',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getVersion',
        summary: 'Versions',
        tags: ['health'],
        response: { 200: versionSchema.meta({ description: 'The versions.' }), ...common },
      },
    },
    async () => ({
      ...{ fleet: DAEMON_VERSION, api: API_VERSION, node: process.versions.node },
    }),
  );
};
