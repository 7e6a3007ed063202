// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  batchHeadersSchema,
  inBatch,
  indexOf,
  refuseKeyInHeader,
} from '../../daemon/transfers/batch.ts';
import type { Client } from '../../http/access/client.ts';
import { answerBatch } from '../../http/answer-created.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import { readTraceContext } from '../../http/trace-context.ts';
import type { HostGrants } from '../access/hosts.ts';
import type { Fleet } from '../hosts/fleet.ts';
import { etcdUnavailable } from './acceptance.ts';
import { MAX_HOSTS } from './batch-acceptance.ts';
import type { BatchedRequest, Batches, Entry } from './batches.ts';
import { documentFor } from './document.ts';
import { planOf } from './dry-run.ts';
import { fleetDryRunSchema, fleetTransferBatchSchema, fleetTransferSchema } from './schema.ts';
import type { FleetTransfers } from './service.ts';
import { touchesOfBatch } from './touches.ts';
import type { Views } from './views.ts';

/** How many plans hosts are asked for at a time, and how many transfers are read so. */
const AT_ONCE = 16;

export interface BatchRouteOptions {
  transfers: FleetTransfers;
  batches: Batches;
  views: Views;
  grants: HostGrants;
  fleet: Fleet;
}

export const batchRoute: FastifyPluginAsyncZod<BatchRouteOptions> = async (
  app,
  { transfers, batches, views, grants, fleet },
) => {
  app.post(
    '/transfers/batch',
    {
      config: { access: 'transfers:write', kind: 'wait' },
      schema: {
        operationId: 'createTransfers',
        summary: 'Many transfers at once',
        description:
          'Accepts up to 1000 transfers together, in the order of the list, or none of them; they may ' +
          `be for up to ${MAX_HOSTS} hosts. It does not wait for their ends. \`depends_on\` may name ` +
          'earlier ones of the list as `"#0"`, `"#1"` and so on, on other hosts too. Each transfer can ' +
          'have an Idempotency-Key of its own: those whose keys an earlier request has used are given ' +
          'again, so that a batch can be sent again as a whole if all of them have one.',
        tags: ['transfers'],
        headers: batchHeadersSchema,
        body: fleetTransferBatchSchema,
        response: {
          200: z.object({ transfers: z.array(fleetDryRunSchema) }).meta({
            description: 'The plans, for a dry run of all.',
          }),
          202: z
            .object({ transfers: z.array(z.union([fleetTransferSchema, z.uuid()])) })
            .meta({ description: 'All are accepted: one for each of the list, in its order.' }),
          ...problemResponses(
            ...(['request_timeout', 'payload_too_large', 'unsupported_media_type'] as const),
            ...(['unknown_host', 'unknown_transfer', 'idempotency_key_reused'] as const),
            ...(['unknown_device', 'out_of_range', 'overlapping_ranges', 'bad_block'] as const),
            ...(['engine_unavailable', 'queue_full', 'etcd_unavailable'] as const),
            ...(['host_unreachable', 'overloaded', 'storage_full'] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const { client, headers } = request;
      const requests: readonly BatchedRequest[] = request.body.transfers;
      for (const [index, each] of requests.entries()) {
        await aboutLater(index, () => transfers.checkHosts(each, client));
      }
      const { touches, pointerOf } = touchesOfBatch(requests);
      await grants.authorize(request, touches, pointerOf);
      refuseKeyInHeader(headers['idempotency-key']);
      checkConditions(request);
      if (requests[0]?.dry_run) {
        return reply.code(200).send({ transfers: await planAll(requests, client) });
      }
      const { traceparent } = readTraceContext(headers) ?? {};
      const entries = await batches.accept(requests, { client, traceparent });
      return answerBatch(reply, headers.prefer, {
        ids: entries.map(({ id }) => id),
        replayed: entries.every(({ record }) => record === undefined),
        documents: () => eachOf(entries, (entry) => documentOf(entry, client)),
      });
    },
  );

  async function planAll(requests: readonly BatchedRequest[], client: Client) {
    for (const [index, { depends_on = [], ...each }] of requests.entries()) {
      const ids = depends_on.filter((name) => (indexOf(name) ?? index) >= index);
      await aboutLater(index, () =>
        transfers.unmetDependencies({ ...each, depends_on: ids }, client, new Set()),
      );
    }
    return eachOf(requests, ({ idempotency_key: _, ...each }, index) =>
      aboutLater(index, () => planOf(fleet, each)),
    );
  }

  /** Without asking its host, which may be slow. */
  async function documentOf({ id, record }: Entry, client: Client) {
    const view = record ? views.viewOf({ record, created: 0 }) : await views.read(id, false);
    if (view === undefined) throw etcdUnavailable();
    return documentFor(client, view.owner, view.document);
  }
};

async function aboutLater<Result>(index: number, work: () => Promise<Result>): Promise<Result> {
  return work().catch((error) => {
    throw error instanceof Problem ? inBatch(error, index) : error;
  });
}

/** What comes of each, in order, some of them at a time; after a failure none is begun. */
async function eachOf<Item, Result>(
  items: readonly Item[],
  make: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const next = items.entries();
  let failed = false;
  const work = async () => {
    for (const [index, item] of next) {
      if (failed) return;
      results[index] = await make(item, index).catch((error) => {
        failed = true;
        throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}
