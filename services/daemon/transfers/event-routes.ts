// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { isClosed } from '../../http/client-gone.ts';
import { EVENT_STREAM, EventStream, lastEventIdSchema } from '../../http/event-stream.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { eventsQuerySchema } from './list-schema.ts';
import type { TransferService } from './service.ts';
import { SharedDigests } from './shared-digest.ts';
import { TransferEvent } from './transfer-event.ts';
import { type WorkSource, WorkWatch } from './watch.ts';
import { hasHadEnd, watchOne } from './watch-one.ts';

const eventStreamResponse = (replications: string) => ({
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data' +
    `${replications}. ` +
    '`segments` come with the first event of each transfer in a stream, and are left out of ' +
    'those that follow. Each has an id, from which `Last-Event-ID` goes on: with what was missed ' +
    'while that is known (some minutes), else with how things stand, behind an event `snapshot` ' +
    'that says so.',
  content: { [EVENT_STREAM]: { schema: z.string() } },
});

export interface EventRoutesOptions {
  transfers: TransferService;
  /** What `GET /events` tells of, transfers among them. */
  sources: readonly WorkSource[];
}

export const eventRoutes: FastifyPluginAsyncZod<EventRoutesOptions> = async (
  app,
  { transfers, sources },
) => {
  const digests = new SharedDigests(transfers.feed);

  app.get(
    '/transfers/:id/events',
    {
      config: {
        access: SEES_TRANSFERS,
        kind: 'stream',
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchTransfer',
        summary: 'Watch a transfer',
        description: 'Begins with how it stands, and ends with its last status.',
        tags: ['transfers'],
        params: z.object({ id: z.string() }),
        headers: lastEventIdSchema,
        response: {
          200: eventStreamResponse(''),
          204: z.null().meta({
            description: 'It is over, and the client that comes back has its last status.',
          }),
          ...problemResponses('not_found', 'queue_full'),
        },
      },
    },
    async (request, reply) => {
      const transfer = await transfers.get(request.params.id, request.client);
      if (hasLeft(reply)) return;
      const received = transfers.feed.ids.parse(request.headers['last-event-id']);
      if (hasHadEnd(transfer, received)) return reply.code(204).send(null);
      const { feed } = transfers;
      const now = new TransferEvent(feed.latest, 'status', transfer);
      watchOne(request, reply, feed, now, received);
    },
  );

  app.get(
    '/events',
    {
      config: {
        access: SEES_TRANSFERS,
        kind: 'stream',
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchTransfers',
        summary: 'Watch all transfers and replications that the client sees',
        description:
          'Begins with the status of each that is not over. The same filters as the list of transfers: ' +
          'an event is sent if its transfer or replication matches then; with `operation` or `engine`, ' +
          'there are no replications.',
        tags: ['transfers'],
        querystring: eventsQuerySchema,
        headers: lastEventIdSchema,
        response: {
          200: eventStreamResponse(
            '; and `replication_progress` and `replication_status`, each with the replication',
          ),
          ...problemResponses('queue_full'),
        },
      },
    },
    async (request, reply) => {
      if (hasLeft(reply)) return;
      const { client, query, headers } = request;
      const { feed } = transfers;
      const stream = new EventStream(request, reply, () => watch.end());
      const watch = new WorkWatch(stream, { feed, digests, sources }, client, query);
      await watch.run(feed.ids.parse(headers['last-event-id']));
    },
  );
};

/** Whether the client left while its request waited: then nothing would ever end its stream. */
function hasLeft(reply: FastifyReply): boolean {
  if (!isClosed(reply.raw)) return false;
  reply.hijack();
  return true;
}
