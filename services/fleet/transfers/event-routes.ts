// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Client } from '../../http/access/client.ts';
import { SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { isClosed } from '../../http/client-gone.ts';
import { EVENT_STREAM, EventStream, lastEventIdSchema } from '../../http/event-stream.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import type { Mirror } from '../etcd/mirror.ts';
import { etcdUnavailable } from './acceptance.ts';
import type { Ends } from './ends.ts';
import type { Feed, FleetEvent } from './feed.ts';
import { fleetEventsQuerySchema } from './schema.ts';
import type { View, Views } from './views.ts';
import { type EventForm, eventText, FleetWatch } from './watch.ts';

/** The id of the last event of a transfer's own stream, on every gateway. */
const OVER_ID = 'over';

const eventStreamResponse = {
  description:
    'Server-sent events `progress` and `status`, each with the transfer as JSON in its data; its ' +
    '`segments` with the first one only. A client that comes back with `Last-Event-ID`, to this gateway or to another, gets an event ' +
    '`snapshot`, and then how things stand.',
  content: { [EVENT_STREAM]: { schema: z.string() } },
};

export interface EventRoutesOptions {
  views: Views;
  mirror: Mirror;
  feed: Feed;
  ends: Ends;
}

export const eventRoutes: FastifyPluginAsyncZod<EventRoutesOptions> = async (
  app,
  { views, mirror, feed, ends },
) => {
  const gateway = randomBytes(6).toString('hex');
  const idOf = (number: number) => `${gateway}-${number}`;

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
          204: z.null().meta({
            description: 'It is over, and the client that comes back has its last status.',
          }),
          ...problemResponses('not_found', 'queue_full', 'etcd_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const { client, params, headers } = request;
      const received = headers['last-event-id'];
      let stream: EventStream | undefined;
      const early: FleetEvent[] = [];
      const tell = (event: FleetEvent) => {
        if (stream === undefined) early.push(event);
        else send(stream, client, event);
      };
      // From now on: what changes while it is looked up must not be missed.
      const unwatch = feed.watch((event) => {
        if (event.document.id === params.id) tell(event);
      });
      // With that the feed gets its end even if it is accepted, and over, while there is no watch on etcd.
      const stopAwaiting = ends.await(params.id, () => {});
      const unsubscribe = () => {
        unwatch();
        stopAwaiting();
      };
      let view: View;
      try {
        view = await views.find(params.id, client);
        if (view.ended !== undefined && received === OVER_ID) {
          unsubscribe();
          return reply.code(204).send(null);
        }
        if (isClosed(reply.raw)) throw new Error('the client left');
        stream = new EventStream(request, reply, unsubscribe);
      } catch (error) {
        unsubscribe();
        if (!isClosed(reply.raw)) throw error;
        reply.hijack();
        return;
      }
      stream.send(snapshotText(received));
      const { owner, document } = view;
      send(stream, client, feed.eventOf('status', owner, document), 'whole');
      if (view.ended === undefined) for (const event of early) tell(event);
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
        querystring: fleetEventsQuerySchema,
        headers: lastEventIdSchema,
        response: {
          200: eventStreamResponse,
          ...problemResponses('queue_full', 'etcd_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const { client, query, headers } = request;
      if (isClosed(reply.raw)) {
        reply.hijack();
        return;
      }
      if (!mirror.loaded) throw etcdUnavailable();
      const stream = new EventStream(request, reply, () => {
        unsubscribe();
        watch.end();
      });
      const watch = new FleetWatch(stream, client, query, idOf);
      const unsubscribe = feed.watch((event) => watch.tell(event));
      stream.send(snapshotText(headers['last-event-id']));
      await watch.begin(standing());
    },
  );

  /** All transfers that have not ended, as they stand. */
  function* standing(): Generator<FleetEvent> {
    for (const running of mirror.running.values()) {
      const { owner, document } = views.viewOf(running);
      yield feed.eventOf('status', owner, document);
    }
  }

  /** Sends an event of one transfer, and ends the stream with its end. */
  function send(
    stream: EventStream,
    client: Client,
    event: FleetEvent,
    form: EventForm = 'brief',
  ): void {
    const { finished } = event.subject;
    const text = () => eventText(event, client, finished ? OVER_ID : idOf(event.number), form);
    if (event.kind === 'progress') stream.sendIfIdle(text);
    else stream.send(text());
    if (finished) stream.end();
  }
};

/** Tells a client that came back that its stream begins anew. */
function snapshotText(lastEventId: string | undefined): string {
  if (!lastEventId) return '';
  const reason = 'What happened meanwhile is not told again: what follows is how things stand.';
  return `event: snapshot\ndata: ${JSON.stringify({ reason })}\n\n`;
}
