// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { EventStream } from '../http/event-stream.ts';
import { problemResponses } from '../problems/schema.ts';
import { TransferEvent } from './feed.ts';
import type { TransferService } from './service.ts';
import type { Transfer } from './transfer.ts';

const EVENT_STREAM = 'text/event-stream';

const eventStreamResponse = {
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data.',
  content: { [EVENT_STREAM]: { schema: z.string() } },
};

export const eventRoutes: FastifyPluginAsyncZod<{ transfers: TransferService }> = async (
  app,
  { transfers },
) => {
  app.get(
    '/transfers/:id/events',
    {
      config: { access: 'transfers:read', produces: [`${EVENT_STREAM}; charset=utf-8`] },
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
      const transfer = transfers.get(request.params.id, request.client.name);
      watch(request, reply, transfers, transfer);
    },
  );

  app.get(
    '/events',
    {
      config: { access: 'transfers:read', produces: [`${EVENT_STREAM}; charset=utf-8`] },
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
      watch(request, reply, transfers, undefined);
    },
  );
};

/** @param only the one transfer to watch; undefined for all */
function watch(
  request: FastifyRequest,
  reply: FastifyReply,
  transfers: TransferService,
  only: Transfer | undefined,
): void {
  const stream = new EventStream(request, reply, () => unsubscribe());
  const unsubscribe = transfers.feed.subscribe(only?.id, (event) => {
    if (event.transfer.origin.client !== request.client.name) return;
    if (event.kind === 'progress') stream.sendIfIdle(() => event.text);
    else stream.send(event.text);
    if (only?.over) stream.end();
  });
  if (only === undefined) return;
  stream.send(new TransferEvent('status', only).text);
  if (only.over) stream.end();
}
