// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { idempotencyKeySchema } from '../../daemon/transfers/idempotency-key.ts';
import { touchPointer } from '../../daemon/transfers/request.ts';
import { serverTiming } from '../../daemon/transfers/server-timing.ts';
import { CHANGES_TRANSFERS, SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { answerCreated, RETRY_AFTER_SECONDS } from '../../http/answer-created.ts';
import { clientGone } from '../../http/client-gone.ts';
import { type Preference, preferHeader, readPrefer } from '../../http/prefer.ts';
import { PROBLEMS, Problem, type ProblemCode } from '../../http/problems/problem.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { referenceBelow } from '../../http/references.ts';
import { checkConditions, checkConditionsOf } from '../../http/semantics.ts';
import { readTraceContext } from '../../http/trace-context.ts';
import type { HostGrants } from '../access/hosts.ts';
import type { Fleet } from '../hosts/fleet.ts';
import { planOf } from './dry-run.ts';
import type { Lister } from './list.ts';
import {
  fleetDryRunSchema,
  fleetListQuerySchema,
  fleetTransferListSchema,
  fleetTransferProblemSchema,
  fleetTransferRequestSchema,
  fleetTransferSchema,
} from './schema.ts';
import type { FleetTransfers } from './service.ts';
import { touchesOnHosts } from './touches.ts';
import type { View, Views } from './views.ts';

const DEFAULT_WAIT_MS = 10_000;
/** How long a cancellation waits until the host has stopped. */
const CANCEL_WAIT_MS = 30_000;

export interface TransferRoutesOptions {
  transfers: FleetTransfers;
  views: Views;
  lister: Lister;
  grants: HostGrants;
  fleet: Fleet;
}

const preferSchema = preferHeader('POST /transfers');
const idParam = z.object({ id: z.string().meta({ description: 'The id of a transfer.' }) });

/** How a transfer can end, in the words of its problem. */
const ENDED_PROBLEMS = [
  ...(['cancelled', 'source_incomplete', 'dependency_failed', 'dma_error'] as const),
  ...(['verify_mismatch', 'media_error', 'device_gone', 'interrupted', 'timeout'] as const),
  ...(['expired', 'storage_full', 'internal_error'] as const),
  ...(['unknown_device', 'out_of_range', 'overlapping_ranges', 'bad_block'] as const),
  ...(['engine_unavailable', 'payload_too_large', 'unknown_peer', 'peer_unreachable'] as const),
  ...(['peer_refused', 'digest_mismatch', 'source_changing'] as const),
] as const;

export const transferRoutes: FastifyPluginAsyncZod<TransferRoutesOptions> = async (
  app,
  { transfers, views, lister, grants, fleet },
) => {
  app.post(
    '/transfers',
    {
      config: { access: 'transfers:write', waitsMs: DEFAULT_WAIT_MS },
      schema: {
        operationId: 'createTransfer',
        summary: 'Copy bytes on a host, or from one to another',
        description:
          'With `dst_host` it is a replication: that host makes its range equal to that of `host`. ' +
          'Accepted once a majority of etcd has it; then a gateway hands it to its host, however ' +
          'long that is away, for up to 20 h. It runs once. Transfers for one host are handed over in ' +
          'the order in which they were accepted. Waits for the end, up to 10 s unless `Prefer` says ' +
          'otherwise. What the host refuses has ended, and has not used its key up.',
        tags: ['transfers'],
        headers: z.object({
          prefer: preferSchema,
          'idempotency-key': idempotencyKeySchema.optional().meta({
            description:
              'Makes a retry safe: the same key with the same body answers with the first ' +
              'transfer, and copies nothing again, on any gateway. Good until 24 h after the end of that.',
          }),
        }),
        body: fleetTransferRequestSchema,
        response: {
          200: z.union([fleetDryRunSchema, fleetTransferSchema]).meta({
            description:
              'The plan, for a dry run; or the transfer that this Idempotency-Key made, which ' +
              'succeeded.',
          }),
          201: fleetTransferSchema.meta({ description: 'It succeeded.' }),
          202: fleetTransferSchema.meta({ description: 'It goes on: see Location.' }),
          ...problemResponses(
            ...(['request_timeout', 'unsupported_media_type', 'queue_full'] as const),
          ),
          ...problemResponsesWith(
            fleetTransferProblemSchema,
            ...ENDED_PROBLEMS,
            ...(['unknown_host', 'unknown_transfer', 'idempotency_key_reused'] as const),
            ...(['etcd_unavailable', 'host_unreachable', 'overloaded'] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const { body, client } = request;
      request.operation = body.operation;
      // Before the grants, which are kept for each host.
      await transfers.checkHosts(body, client);
      await grants.authorize(request, touchesOnHosts(body), (index) => touchPointer(body, index));
      checkConditions(request);
      if (body.dry_run) {
        await transfers.unmetDependencies(body, client, new Set());
        return planOf(fleet, body);
      }
      const prefer = readPrefer(request.headers.prefer, DEFAULT_WAIT_MS);
      const key = request.headers['idempotency-key'];
      const { traceparent } = readTraceContext(request.headers) ?? {};
      const record = await transfers.prepare(body, { client, key, traceparent });
      const { id, replayed } = await transfers.accept(record);
      request.transferId = id;
      reply.header('location', referenceBelow(request.raw, '/transfers', id));
      if (replayed) reply.header('idempotency-replayed', 'true');
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      const view = await views.waitForAccepted(
        { id, record: replayed ? undefined : record },
        ...([client, prefer.waitMs, () => clientGone(reply)] as const),
      );
      return answer(view, reply, prefer, replayed);
    },
  );

  app.get(
    '/transfers',
    {
      config: { access: SEES_TRANSFERS },
      schema: {
        operationId: 'listTransfers',
        summary: 'List transfers, newest first',
        description: 'Those that have not ended, and those that ended within 24 h.',
        tags: ['transfers'],
        querystring: fleetListQuerySchema,
        response: {
          200: fleetTransferListSchema.meta({ description: 'A page.' }),
          ...problemResponses('etcd_unavailable'),
        },
      },
    },
    async ({ query, client }) => {
      const { transfers: page, nextPageToken, stale } = await lister.list(query, client);
      return {
        transfers:
          query.view === 'basic' ? page.map(({ segments, timings, ...rest }) => rest) : page,
        next_page_token: nextPageToken,
        ...(stale && { stale }),
      };
    },
  );

  app.get(
    '/transfers/:id',
    {
      config: { access: SEES_TRANSFERS, waitsMs: 0 },
      schema: {
        operationId: 'getTransfer',
        summary: 'See how a transfer stands',
        tags: ['transfers'],
        params: idParam,
        headers: z.object({ prefer: preferSchema }),
        response: {
          200: fleetTransferSchema.meta({ description: 'The transfer, over or not.' }),
          ...problemResponses('not_found', 'etcd_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const { params, client, headers } = request;
      const prefer = readPrefer(headers.prefer, 0);
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      const { waitMs } = prefer;
      const { document } = await views.waitForEnd(params.id, client, waitMs, () =>
        clientGone(reply),
      );
      return document;
    },
  );

  app.post(
    '/transfers/:id/cancel',
    {
      config: { access: CHANGES_TRANSFERS, kind: 'wait' },
      schema: {
        operationId: 'cancelTransfer',
        summary: 'Stop a transfer',
        description:
          'Answers once it has stopped; after 30 s with 202, such as when its host is away: it is ' +
          'stopped as soon as the host is back. What is already copied stays copied. Can be repeated.',
        tags: ['transfers'],
        params: idParam,
        response: {
          200: fleetTransferSchema.meta({ description: 'It has stopped.' }),
          202: fleetTransferSchema.meta({ description: 'Its host has not stopped it yet.' }),
          ...problemResponses('not_found', 'etcd_unavailable'),
          ...problemResponsesWith(fleetTransferProblemSchema, 'not_cancellable'),
        },
      },
    },
    async (request, reply) => {
      const { params, client } = request;
      request.transferId = params.id;
      await checkConditionsOf(request, () => views.find(params.id, client));
      const view = await transfers.cancel(params.id, client, CANCEL_WAIT_MS, () =>
        clientGone(reply),
      );
      if (view.ended === undefined) reply.code(202).header('retry-after', RETRY_AFTER_SECONDS);
      return view.document;
    },
  );
};

/** Tells the client that made a transfer how it went. */
function answer(
  { document, ended }: View,
  reply: FastifyReply,
  prefer: Preference,
  replayed: boolean,
) {
  const succeeded = document.status === 'succeeded';
  if (succeeded && !replayed) {
    const { timings, durability, verification } = document;
    // A replication is flushed as it goes.
    const flush = durability.requested === 'flush' && document.blocks === undefined;
    const timing = serverTiming(timings, { flush, verify: verification !== null });
    reply.header('server-timing', timing);
  }
  if (ended === undefined || succeeded) {
    return answerCreated(reply, prefer, { succeeded, replayed, document: () => document });
  }
  const { code, detail, errors, dma } = document.error ?? {};
  throw new Problem(isKnown(code) ? code : 'internal_error', detail ?? '', {
    ...(errors && { errors }),
    ...(dma && { dma }),
    members: { transfer: document },
  });
}

/** A host may be of a later version. */
function isKnown(code: string | undefined): code is ProblemCode {
  return code !== undefined && Object.hasOwn(PROBLEMS, code);
}
