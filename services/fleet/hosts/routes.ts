// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Client } from '../../http/access/client.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import { type HostGrants, mayUseHost } from '../access/hosts.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Store } from '../etcd/store.ts';
import { etcdUnavailable, refusedByEtcd } from '../transfers/acceptance.ts';
import type { Fleet } from './fleet.ts';
import type { HostLookup } from './lookup.ts';
import { removeIdleHost } from './removal.ts';
import {
  fleetDeviceListSchema,
  hostListSchema,
  hostParams,
  hostRequestSchema,
  hostSchema,
  type Seen,
} from './schema.ts';

const MAX_HOSTS = 10_000;

export interface HostRoutesOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  lookup: HostLookup;
  membership: Membership;
  fleet: Fleet;
  grants: HostGrants;
}

const abandonQuery = z.strictObject({
  abandon: z.enum(['true', 'false']).default('false').meta({
    description: 'true: its transfers that have not ended end as `interrupted`.',
  }),
});

export const hostRoutes: FastifyPluginAsyncZod<HostRoutesOptions> = async (
  app,
  { store, keys, mirror, lookup, membership, fleet, grants },
) => {
  app.get(
    '/hosts',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'listHosts',
        summary: 'List the hosts, and how they fare',
        tags: ['hosts'],
        response: {
          200: hostListSchema.meta({ description: 'Those that the client may use.' }),
          ...problemResponses('etcd_unavailable'),
        },
      },
    },
    async ({ client }) => {
      if (!mirror.loaded) throw etcdUnavailable();
      const names = [...mirror.hosts.keys()].filter((name) => mayUseHost(client, name)).sort();
      return { hosts: names.map((name) => describe(name, client)) };
    },
  );

  app.get(
    '/hosts/:host',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'getHost',
        summary: 'Describe a host',
        tags: ['hosts'],
        params: hostParams,
        response: {
          200: hostSchema.meta({ description: 'The host.' }),
          ...problemResponses('not_found', 'etcd_unavailable'),
        },
      },
    },
    async ({ client, params: { host } }) => {
      await checkHost(host, client);
      return describe(host, client);
    },
  );

  app.put(
    '/hosts/:host',
    {
      config: { access: 'fleet:admin' },
      schema: {
        operationId: 'putHost',
        summary: 'Add a host, or change how it is reached',
        description:
          'Its daemon must know the token in DMAD_FLEET_HOST_TOKEN_FILE. A new URL must lead to the ' +
          'same daemon: what was accepted goes there.',
        tags: ['hosts'],
        params: hostParams,
        body: hostRequestSchema,
        response: {
          200: hostSchema.meta({ description: 'It is changed.' }),
          201: hostSchema.meta({ description: 'It is added.' }),
          ...problemResponses(
            ...(['request_timeout', 'payload_too_large', 'unsupported_media_type'] as const),
            ...(['queue_full', 'etcd_unavailable'] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const { client, params, body } = request;
      const { host } = params;
      if (!mirror.loaded || membership.health.is === 'away') throw etcdUnavailable();
      if (!mayUseHost(client, host)) {
        throw new Problem('forbidden', `The token ${client.name} is not for host ${host}.`);
      }
      if (client.hosts !== undefined && fleet.hasToken) {
        // The URL would receive the token that all hosts know the fleet by.
        const detail = `The token ${client.name} is limited to some hosts: it cannot decide where the fleet's token is sent.`;
        throw new Problem('forbidden', detail);
      }
      checkConditions(request);
      const added = !(await lookup.has(host));
      if (added && mirror.hosts.size >= MAX_HOSTS) {
        throw new Problem('queue_full', `A fleet has up to ${MAX_HOSTS} hosts.`);
      }
      await write([{ put: keys.host(host), value: JSON.stringify(body) }]);
      return reply.code(added ? 201 : 200).send({ ...describe(host, client), url: body.url });
    },
  );

  app.delete(
    '/hosts/:host',
    {
      config: { access: 'fleet:admin' },
      schema: {
        operationId: 'deleteHost',
        summary: 'Remove a host from the fleet',
        description: 'Nothing changes on the host itself.',
        tags: ['hosts'],
        params: hostParams,
        querystring: abandonQuery,
        response: {
          204: z.null().meta({ description: 'It is removed.' }),
          ...problemResponses('not_found', 'host_in_use', 'etcd_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const { client, params, query } = request;
      const { host } = params;
      if (!mirror.loaded || membership.health.is === 'away') throw etcdUnavailable();
      await checkHost(host, client);
      checkConditions(request);
      if (query.abandon === 'false') await removeIdleHost({ store, keys, mirror }, host);
      else await write([{ delete: keys.host(host) }, { delete: keys.seen(host) }]);
      return reply.code(204).send(null);
    },
  );

  app.get(
    '/devices',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'listDevices',
        summary: 'List the devices of all hosts',
        tags: ['hosts'],
        response: {
          200: fleetDeviceListSchema.meta({
            description: 'Those of which the client may read or write some bytes, as seen last.',
          }),
          ...problemResponses('etcd_unavailable'),
        },
      },
    },
    async ({ client }) => {
      if (!mirror.loaded) throw etcdUnavailable();
      const names = [...mirror.hosts.keys()].filter((name) => mayUseHost(client, name)).sort();
      const devices = names.flatMap((host) => {
        const onHost = grants.of(client, host);
        const away = membership.health.is === 'away' || fleet.whyAway(host) !== undefined;
        const stale = away ? { stale: true } : {};
        return (seenOf(host)?.devices ?? [])
          .filter(({ name }) => onHost?.knows(name) ?? true)
          .map((device) => ({ ...device, host, ...stale }));
      });
      return { devices };
    },
  );

  /** @throws Problem not_found, also if the client may not use it; etcd_unavailable */
  async function checkHost(host: string, client: Client): Promise<void> {
    if (!mirror.loaded) throw etcdUnavailable();
    if (!mayUseHost(client, host) || !(await lookup.has(host))) throw noSuchHost();
  }

  async function write(writes: Parameters<Store['write']>[1]): Promise<void> {
    let revision: number;
    try {
      ({ revision } = await store.write([], writes));
    } catch (error) {
      // Doing it twice does no harm: the client may repeat it, whatever became of it.
      throw refusedByEtcd(error);
    }
    // So that the client's next request finds it done. It is done if the watch is late, too.
    await mirror.reach(revision).catch(() => {});
  }

  function seenOf(host: string): Seen | undefined {
    return fleet.link(host)?.seen ?? mirror.seen.get(host);
  }

  function describe(name: string, client: Client) {
    const seen = seenOf(name);
    const onHost = grants.of(client, name);
    return {
      name,
      url: mirror.hosts.get(name)?.url ?? '',
      state: seen?.state ?? ('unreachable' as const),
      since: seen?.since ?? null,
      reason: seen === undefined ? 'it has not been asked yet' : seen.reason,
      devices: (seen?.devices ?? [])
        .map((device) => device.name)
        .filter((device) => onHost?.knows(device) ?? true),
      dma: seen?.dma ?? false,
      transfers: mirror.runningOn(name).size,
      ...(membership.health.is === 'away' && { stale: true }),
    };
  }
};

function noSuchHost(): Problem {
  return new Problem('not_found', 'There is no such host; GET /hosts lists them.');
}
