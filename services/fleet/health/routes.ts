// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsync } from 'fastify';
import { z } from 'zod';
import { API_VERSION, DAEMON_VERSION } from '../../base/version.ts';
import { apiVersionSchema, healthRoutes as commonHealthRoutes } from '../../http/health.ts';
import { describe, type Membership } from '../etcd/membership.ts';
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
    api: apiVersionSchema,
    node: z.string(),
  })
  .meta({ id: 'FleetVersion' });

export interface HealthRoutesOptions {
  mirror: Mirror;
  membership: Membership;
  /** How many hosts are not ready: who has no token learns no names. */
  notReady(): number;
}

/** Why a gateway accepts nothing. */
export function waitingFor({ mirror, membership }: HealthRoutesOptions): string[] {
  const { health } = membership;
  if (health.is !== 'there') return [describe(health)];
  return mirror.current ? [] : ['etcd: reading what it has'];
}

export const healthRoutes: FastifyPluginAsync<HealthRoutesOptions> = async (app, options) => {
  await app.register(commonHealthRoutes, {
    live: {
      summary: 'Whether the gateway is alive',
      description: 'Asks neither etcd nor a host.',
    },
    ready: {
      summary: 'Whether the gateway accepts transfers',
      schema: readySchema,
      yes: 'It accepts transfers.',
      no: 'It accepts none until what `waiting_for` names is there.',
      read: (): z.output<typeof readySchema> => {
        const waiting_for = waitingFor(options);
        const count = options.notReady();
        return {
          ready: waiting_for.length === 0,
          waiting_for,
          ...(count > 0 && { degraded: [`hosts that are not ready: ${count}`] }),
        };
      },
    },
    version: {
      summary: 'Versions',
      schema: versionSchema,
      read: (): z.output<typeof versionSchema> => ({
        ...{ fleet: DAEMON_VERSION, api: API_VERSION, node: process.versions.node },
      }),
    },
  });
};
