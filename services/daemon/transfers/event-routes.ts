// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { isClosed } from '../http/client-left.ts';
import { EventStream } from '../http/event-stream.ts';
import { problemResponses } from '../problems/schema.ts';
import { TransferEvent } from './feed.ts';
import type { TransferService } from './service.ts';
import type { Transfer } from './transfer.ts';

const EVENT_STREAM = 'text/event-stream';

const eventStreamResponse = {
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data. ' +
    '`segments` come with the first event of each transfer in a stream, and are left out of ' +
    'those that follow.',
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
        access: 'transfers:read',
        kind: 'stream',
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchTransfer',
        summary: 'Watch a transfer',
        description: 'Begins with how it stands, and ends with its last status.',
        tags: ['transfers'],
        params: z.object({ id: z.string() }),
        response: {
          200: eventStreamResponse,
          ...problemResponses('not_found', 'queue_full'),
        },
      },
    },
    async (request, reply) => {
      const transfer = await transfers.get(request.params.id, request.client);
      watchOne(request, reply, transfers, transfer);
    },
  );

  app.get(
    '/events',
    {
      config: {
        access: 'transfers:read',
        kind: 'stream',
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchTransfers',
        summary: 'Watch all transfers of the client',
        tags: ['transfers'],
        response: {
          200: eventStreamResponse,
          ...problemResponses('queue_full'),
        },
      },
    },
    async (request, reply) => {
      watchAll(request, reply, transfers);
    },
  );
};

/** Whether the client left while its request waited: then nothing would ever end its stream. */
function hasLeft(reply: FastifyReply): boolean {
  if (!isClosed(reply.raw)) return false;
  reply.hijack();
  return true;
}

function watchOne(
  request: FastifyRequest,
  reply: FastifyReply,
  { feed }: TransferService,
  transfer: Transfer,
): void {
  if (hasLeft(reply)) return;
  const stream = new EventStream(request, reply, () => unsubscribe());
  const { client } = request;
  const unsubscribe = feed.watch(transfer.id, (event) => {
    const brief = () => event.textFor(client, 'brief');
    if (event.kind === 'progress') stream.sendIfIdle(brief);
    else stream.send(brief());
    if (transfer.over) stream.end();
  });
  stream.send(new TransferEvent('status', transfer).textFor(client, 'whole'));
  if (transfer.over) stream.end();
}

function watchAll(request: FastifyRequest, reply: FastifyReply, { feed }: TransferService): void {
  if (hasLeft(reply)) return;
  const stream = new EventStream(request, reply, () => unsubscribe());
  const { client } = request;
  const unsubscribe = feed.watchAll(client, (event, first) => {
    const text = () => event.textFor(client, first ? 'whole' : 'brief');
    if (event.kind === 'progress' && !first) stream.sendIfIdle(text);
    else stream.send(text());
  });
}
