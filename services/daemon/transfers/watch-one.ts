// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import { EventStream } from '../../http/event-stream.ts';
import type { Received } from './event-ids.ts';
import type { Feed } from './feed.ts';
import { type EventForm, eventText, type FeedEvent, type Subject } from './feed-event.ts';
import { snapshotText } from './watch.ts';

/** Whether a client that comes back has had a subject's last status. */
export function hasHadEnd({ finished, latestEvent }: Subject, received: Received): boolean {
  if (!finished || received === undefined || received.is === 'lost') return false;
  return received.is === 'unreadable' || received.upTo >= latestEvent;
}

/**
 * Streams what becomes of one subject, to its end.
 *
 * @param now how it stands
 * @param received what a client that comes back has had
 */
export function watchOne(
  request: FastifyRequest,
  reply: FastifyReply,
  feed: Feed,
  now: FeedEvent,
  received: Received,
): void {
  const { subject } = now;
  const stream = new EventStream(request, reply, () => unsubscribe());
  const { client } = request;
  const textOf = (event: FeedEvent, form: EventForm) =>
    `id: ${feed.ids.format(event.number)}\n${eventText(event.kind, event.dataFor(client, form))}`;
  const unsubscribe = feed.watch(subject.id, (event) => {
    const text = () => textOf(event, 'brief');
    if (event.kind === 'progress') stream.sendIfIdle(text);
    else stream.send(text());
    if (subject.finished) stream.end();
  });
  const upToDate = received?.is === 'everything' && received.upTo >= subject.latestEvent;
  if (upToDate) return;
  stream.send(snapshotText(received));
  stream.send(textOf(now, 'whole'));
  if (subject.finished) stream.end();
}
