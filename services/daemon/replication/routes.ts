// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { authorize, authorizePeer } from '../../http/access/authorize.ts';
import { CHANGES_TRANSFERS, SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { answerCreated, failureOf } from '../../http/answer-created.ts';
import { isClosed } from '../../http/client-gone.ts';
import { EVENT_STREAM, lastEventIdSchema } from '../../http/event-stream.ts';
import { MERGE_PATCH, takeMergePatch } from '../../http/json-body.ts';
import { type Preference, preferHeader, readPrefer } from '../../http/prefer.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { referenceBelow } from '../../http/references.ts';
import { checkConditions, checkConditionsOf } from '../../http/semantics.ts';
import { readTraceContext } from '../../http/trace-context.ts';
import { idempotencyKeySchema } from '../transfers/idempotency-key.ts';
import { hasHadEnd, watchOne } from '../transfers/watch-one.ts';
import type { Replication } from './replication.ts';
import {
  replicationListQuerySchema,
  replicationListSchema,
  replicationPatchSchema,
  replicationProblemSchema,
  replicationRequestSchema,
  replicationSchema,
} from './schema.ts';
import type { ReplicationService } from './service.ts';

/** How long POST /replications waits for the end if the client says nothing, in milliseconds. */
const DEFAULT_WAIT_MS = 10_000;

export interface ReplicationRoutesOptions {
  replications: ReplicationService;
}

const preferSchema = preferHeader('POST /replications');
const idParam = z.object({ id: z.string().meta({ description: 'The id of a replication.' }) });

export const replicationRoutes: FastifyPluginAsyncZod<ReplicationRoutesOptions> = async (
  app,
  { replications },
) => {
  app.post(
    '/replications',
    {
      config: { access: 'transfers:write', waitsMs: DEFAULT_WAIT_MS },
      schema: {
        operationId: 'createReplication',
        summary: "Copy a range of another host's device",
        description:
          "Makes a range equal to one of a peer's device: reads from the peer what differs, proves " +
          'each block by its SHA-256 before it is written, flushes it, and compares all of it at the ' +
          'end. Peers are named in DMAD_PEERS_FILE. It takes its place in the order as a transfer ' +
          'that writes the destination, outlives the daemon, and goes on where it was. Waits for ' +
          'the end, up to 10 s unless `Prefer` says otherwise.',
        tags: ['replications'],
        headers: z.object({
          prefer: preferSchema,
          'idempotency-key': idempotencyKeySchema.optional().meta({
            description:
              'Makes a retry safe: the same key with the same body answers with the first ' +
              'replication. Good until 24 h after the end of that.',
          }),
        }),
        body: replicationRequestSchema,
        response: {
          200: replicationSchema.meta({
            description: 'The replication that this Idempotency-Key made, which succeeded.',
          }),
          201: replicationSchema.meta({ description: 'It succeeded.' }),
          202: replicationSchema.meta({ description: 'It goes on: see Location.' }),
          ...problemResponses(
            ...(['request_timeout', 'payload_too_large', 'unsupported_media_type'] as const),
            ...(['unknown_peer', 'unknown_device', 'out_of_range', 'bad_block'] as const),
            ...(['idempotency_key_reused', 'queue_full'] as const),
          ),
          ...problemResponsesWith(
            replicationProblemSchema,
            ...(['cancelled', 'peer_unreachable', 'peer_refused', 'source_changing'] as const),
            ...(['media_error', 'device_gone', 'interrupted', 'journal_unavailable'] as const),
            ...(['overloaded', 'shutting_down', 'timeout', 'storage_full'] as const),
            'internal_error',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body, client } = request;
      const { dst_device_name: device, dst_offset: offset, size } = body;
      authorizePeer(request, body.peer);
      authorize(request, [{ device, offset, size, write: true }], () => '/dst_offset');
      checkConditions(request);
      const prefer = readPrefer(request.headers.prefer, DEFAULT_WAIT_MS);
      const { replication, replayed } = await replications.create(body, {
        ...{ requestId: request.id, client: client.name },
        key: request.headers['idempotency-key'],
        trace: readTraceContext(request.headers),
      });
      request.replicationId = replication.id;
      reply.header('location', referenceBelow(request.raw, '/replications', replication.id));
      if (replayed) reply.header('idempotency-replayed', 'true');
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      await replications.waitForEnd(replication, prefer.waitMs, reply.raw);
      return answer(replication, reply, prefer, replayed);
    },
  );

  app.get(
    '/replications',
    {
      config: { access: SEES_TRANSFERS },
      schema: {
        operationId: 'listReplications',
        summary: 'List replications, newest first',
        tags: ['replications'],
        querystring: replicationListQuerySchema,
        response: {
          200: replicationListSchema.meta({ description: 'A page.' }),
          ...problemResponses(),
        },
      },
    },
    async ({ query, client }) => {
      const { replications: page, nextPageToken } = await replications.list(query, client);
      return {
        replications: page.map((replication) => replication.documentFor(client)),
        next_page_token: nextPageToken,
      };
    },
  );

  app.get(
    '/replications/:id',
    {
      config: { access: SEES_TRANSFERS, waitsMs: 0 },
      schema: {
        operationId: 'getReplication',
        summary: 'See how a replication stands',
        tags: ['replications'],
        params: idParam,
        headers: z.object({ prefer: preferSchema }),
        response: {
          200: replicationSchema.meta({ description: 'The replication, over or not.' }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const replication = await replications.get(request.params.id, request.client);
      const prefer = readPrefer(request.headers.prefer, 0);
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      await replications.waitForEnd(replication, prefer.waitMs, reply.raw);
      return replication.documentFor(request.client);
    },
  );

  app.post(
    '/replications/:id/cancel',
    {
      config: { access: CHANGES_TRANSFERS, kind: 'wait' },
      schema: {
        operationId: 'cancelReplication',
        summary: 'Stop a replication',
        description:
          'Answers once it has stopped. What is already copied stays copied, and the destination ' +
          'inconsistent. Can be repeated: one that was cancelled is given again.',
        tags: ['replications'],
        params: idParam,
        response: {
          200: replicationSchema.meta({ description: 'It has stopped.' }),
          ...problemResponses('not_found'),
          ...problemResponsesWith(replicationProblemSchema, 'not_cancellable'),
        },
      },
    },
    async (request) => {
      const { params, client } = request;
      request.replicationId = params.id;
      await checkConditionsOf(request, () => replications.get(params.id, client));
      return (await replications.cancel(params.id, client)).documentFor(client);
    },
  );

  app.get(
    '/replications/:id/events',
    {
      config: {
        access: SEES_TRANSFERS,
        kind: 'stream',
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchReplication',
        summary: 'Watch a replication',
        description: 'Begins with how it stands, and ends with its last status.',
        tags: ['replications'],
        params: idParam,
        headers: lastEventIdSchema,
        response: {
          200: {
            description:
              'Server-sent events `progress` and `status`, each with the replication as JSON in its ' +
              'data, and an id, from which `Last-Event-ID` goes on.',
            content: { [EVENT_STREAM]: { schema: z.string() } },
          },
          204: z.null().meta({
            description: 'It is over, and the client that comes back has its last status.',
          }),
          ...problemResponses('not_found', 'queue_full'),
        },
      },
    },
    async (request, reply) => {
      const replication = await replications.get(request.params.id, request.client);
      const { feed } = replications;
      const received = feed.ids.parse(request.headers['last-event-id']);
      if (hasHadEnd(replication, received)) return reply.code(204).send(null);
      // Nothing would ever end the stream of a client that is gone.
      if (isClosed(reply.raw)) reply.hijack();
      else watchOne(request, reply, feed, replications.now(replication), received);
    },
  );
};

export const replicationPatchRoute: FastifyPluginAsyncZod<ReplicationRoutesOptions> = async (
  app,
  { replications },
) => {
  takeMergePatch(app);

  app.patch(
    '/replications/:id',
    {
      config: { access: CHANGES_TRANSFERS },
      schema: {
        operationId: 'changeReplication',
        summary: 'Change a replication that is not over',
        description:
          'Changes its rate, priority, labels and timeout, also while it runs, by a merge patch ' +
          '(RFC 7396): all that the patch has or nothing. The change outlives the daemon.',
        tags: ['replications'],
        consumes: [MERGE_PATCH],
        params: idParam,
        body: replicationPatchSchema,
        response: {
          200: replicationSchema.meta({ description: 'The replication with what it has now.' }),
          ...problemResponses(
            ...(['not_found', 'request_timeout', 'payload_too_large'] as const),
            ...(['unsupported_media_type', 'journal_unavailable', 'storage_full'] as const),
          ),
          ...problemResponsesWith(replicationProblemSchema, 'not_changeable'),
        },
      },
    },
    async (request) => {
      const { params, client, body } = request;
      request.replicationId = params.id;
      await checkConditionsOf(request, () => replications.get(params.id, client));
      return (await replications.change(params.id, client, body)).documentFor(client);
    },
  );
};

/** Answers the client that made a replication. @param replayed see {@link failureOf} */
function answer(
  replication: Replication,
  reply: FastifyReply,
  prefer: Preference,
  replayed: boolean,
) {
  const document = () => replication.documentFor(reply.request.client);
  const succeeded = replication.status === 'succeeded';
  if (replication.finished && !succeeded) {
    const error = replication.outcome?.error ?? new Problem('internal_error', '');
    throw failureOf(error, replayed, { replication: document() });
  }
  return answerCreated(reply, prefer, { succeeded, replayed, document });
}
