// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { isClosed } from '../../http/client-left.ts';
import { EVENT_STREAM, EventStream, lastEventIdSchema } from '../../http/event-stream.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import type { Received } from './event-ids.ts';
import { eventsQuerySchema } from './schema.ts';
import type { TransferService } from './service.ts';
import type { Transfer } from './transfer.ts';
import { type EventForm, TransferEvent } from './transfer-event.ts';
import { snapshotText, TransfersWatch } from './watch.ts';

const eventStreamResponse = {
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data. ' +
    '`segments` come with the first event of each transfer in a stream, and are left out of ' +
    'those that follow. Each has an id, from which `Last-Event-ID` goes on: with what was missed ' +
    'while that is known (some minutes), else with how things stand, behind an event `snapshot` ' +
    'that says so.',
  content: { [EVENT_STREAM]: { schema: z.string() } },
};

export const eventRoutes: FastifyPluginAsyncZod<{ transfers: TransferService }> = async (
  app,
  { transfers },
) => {
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
          200: eventStreamResponse,
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
      watchOne(request, reply, transfers, transfer, received);
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
        summary: 'Watch all transfers that the client sees',
        description:
          'Begins with a `status` event of each transfer that is not over. The same filters as the ' +
          'list: an event is sent if its transfer matches then.',
        tags: ['transfers'],
        querystring: eventsQuerySchema,
        headers: lastEventIdSchema,
        response: {
          200: eventStreamResponse,
          ...problemResponses('queue_full'),
        },
      },
    },
    async (request, reply) => {
      if (hasLeft(reply)) return;
      const { client, query, headers } = request;
      const stream = new EventStream(request, reply, () => watch.end());
      const watch = new TransfersWatch(stream, transfers, client, query);
      await watch.run(transfers.feed.ids.parse(headers['last-event-id']));
    },
  );
};

/** Whether the client left while its request waited: then nothing would ever end its stream. */
function hasLeft(reply: FastifyReply): boolean {
  if (!isClosed(reply.raw)) return false;
  reply.hijack();
  return true;
}

/** Whether a client that comes back has had a transfer's last status. */
function hasHadEnd({ over, latestEvent }: Transfer, received: Received): boolean {
  if (!over || received === undefined || received.is === 'lost') return false;
  return received.is === 'unreadable' || received.upTo >= latestEvent;
}

function watchOne(
  request: FastifyRequest,
  reply: FastifyReply,
  { feed }: TransferService,
  transfer: Transfer,
  received: Received,
): void {
  const stream = new EventStream(request, reply, () => unsubscribe());
  const { client } = request;
  const textOf = (event: TransferEvent, form: EventForm) =>
    `id: ${feed.ids.format(event.number)}\n${event.textFor(client, form)}`;
  const unsubscribe = feed.watch(transfer.id, (event) => {
    const text = () => textOf(event, 'brief');
    if (event.kind === 'progress') stream.sendIfIdle(text);
    else stream.send(text());
    if (transfer.over) stream.end();
  });
  const upToDate = received?.is === 'everything' && received.upTo >= transfer.latestEvent;
  if (upToDate) return;
  stream.send(snapshotText(received));
  stream.send(textOf(new TransferEvent(feed.latest, 'status', transfer), 'whole'));
  if (transfer.over) stream.end();
}
