// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Client } from '../../http/access/client.ts';
import { SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { seesTransfersOf } from '../../http/access/visibility.ts';
import { isClosed } from '../../http/client-left.ts';
import { EVENT_STREAM, EventStream, lastEventIdSchema } from '../../http/event-stream.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { mayUseHost } from '../access/hosts.ts';
import type { Mirror } from '../etcd/mirror.ts';
import { documentFor, matcherOf } from './document.ts';
import type { Feed, FleetEvent } from './feed.ts';
import { type FleetTransfer, fleetFilterSchema } from './schema.ts';
import type { FleetTransfers, View } from './service.ts';

/** How many transfers of a snapshot are sent before the client has taken some of them. */
const SLICE = 100;

const eventStreamResponse = {
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data. A ' +
    'client that comes back with `Last-Event-ID`, to this gateway or to another, gets an event ' +
    '`snapshot`, and then how things stand.',
  content: { [EVENT_STREAM]: { schema: z.string() } },
};

export interface EventRoutesOptions {
  transfers: FleetTransfers;
  mirror: Mirror;
  feed: Feed;
}

export const eventRoutes: FastifyPluginAsyncZod<EventRoutesOptions> = async (
  app,
  { transfers, mirror, feed },
) => {
  const gateway = randomBytes(6).toString('hex');

  app.get(
    '/transfers/:id/events',
    {
      config: {
        ...{ access: SEES_TRANSFERS, kind: 'stream' as const },
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
          ...problemResponses('not_found', 'queue_full', 'etcd_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const { client, params, headers } = request;
      let stream: EventStream | undefined;
      const early: FleetEvent[] = [];
      const tell = (event: FleetEvent) => {
        if (stream === undefined) early.push(event);
        else send(stream, client, event);
        if (stream !== undefined && isEnd(event.document)) stream.end();
      };
      // From now on: what changes while it is looked up must not be missed.
      const unsubscribe = feed.watch((event) => {
        if (event.document.id === params.id) tell(event);
      });
      let view: View;
      try {
        view = await transfers.find(params.id, client);
        if (isClosed(reply.raw)) throw new Error('the client left');
        stream = new EventStream(request, reply, unsubscribe);
      } catch (error) {
        unsubscribe();
        if (!isClosed(reply.raw)) throw error;
        reply.hijack();
        return;
      }
      stream.send(snapshotText(headers['last-event-id']));
      stream.send(textOf('status', feed.latest, view.document));
      if (view.ended !== undefined) stream.end();
      else for (const event of early) tell(event);
    },
  );

  app.get(
    '/events',
    {
      config: {
        ...{ access: SEES_TRANSFERS, kind: 'stream' as const },
        produces: [`${EVENT_STREAM}; charset=utf-8`],
      },
      schema: {
        operationId: 'watchTransfers',
        summary: 'Watch all transfers that the client sees, on all hosts',
        description:
          'Begins with a `status` event of each transfer that is not over. The same filters as the ' +
          'list: an event is sent if its transfer matches then.',
        tags: ['transfers'],
        querystring: fleetFilterSchema,
        headers: lastEventIdSchema,
        response: { 200: eventStreamResponse, ...problemResponses('queue_full') },
      },
    },
    async (request, reply) => {
      const { client, query, headers } = request;
      if (isClosed(reply.raw)) {
        reply.hijack();
        return;
      }
      const matches = matcherOf(query);
      const wanted = ({ owner, document }: Pick<View, 'owner' | 'document'>) =>
        seesTransfersOf(client, owner) && mayUseHost(client, document.host) && matches(document);
      const view = query.view;
      const stream = new EventStream(request, reply, () => unsubscribe());
      const unsubscribe = feed.watch((event) => {
        if (wanted(event)) send(stream, client, event, view);
      });
      stream.send(snapshotText(headers['last-event-id']));
      let sent = 0;
      for (const running of mirror.running.values()) {
        const each = transfers.viewOf(running);
        if (!wanted(each)) continue;
        const document = documentFor(client, each.owner, each.document);
        stream.send(textOf('status', feed.latest, document, view));
        if (++sent % SLICE === 0) await stream.drained();
        if (stream.ended) return;
      }
    },
  );

  function send(
    stream: EventStream,
    client: Client,
    { kind, number, owner, document }: FleetEvent,
    view?: 'full' | 'basic',
  ): void {
    const text = () => textOf(kind, number, documentFor(client, owner, document), view);
    if (kind === 'progress') stream.sendIfIdle(text);
    else stream.send(text());
  }

  function textOf(
    kind: FleetEvent['kind'],
    number: number,
    document: FleetTransfer,
    view?: 'full' | 'basic',
  ): string {
    const { segments, timings, ...basic } = document;
    const data = view === 'basic' ? basic : document;
    return `id: ${gateway}-${number}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
  }
};

/** Tells a client that came back that its stream begins anew. */
function snapshotText(lastEventId: string | undefined): string {
  if (!lastEventId) return '';
  const reason = 'What happened meanwhile is not told again: what follows is how things stand.';
  return `event: snapshot\ndata: ${JSON.stringify({ reason })}\n\n`;
}

function isEnd({ finished_at }: FleetTransfer): boolean {
  return finished_at !== null;
}
