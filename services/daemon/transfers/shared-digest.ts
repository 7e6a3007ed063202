// SPDX-License-Identifier: Apache-2.0
import type { Viewer } from '../../http/access/visibility.ts';
import { EventDigest } from '../../http/event-digest.ts';
import { audienceOf, type Feed } from './feed.ts';
import type { EventForm, FeedEvent } from './feed-event.ts';
import { WorkFilter } from './filter.ts';
import type { EventsQuery } from './list-schema.ts';

/** What a stream sends of an interval. */
export interface Part {
  event: FeedEvent;
  form: EventForm;
}

/** As it goes over the wire. @param complete see {@link EventIds.format} */
export type TextOf = (part: Part, complete: boolean) => string;

/** What an interval has brought. Those who send the same of it share its bytes. */
export class Interval {
  /** In the order of their numbers, of each subject one. */
  readonly events: readonly FeedEvent[];
  readonly #textOf: TextOf;
  readonly #frames = new Map<string, Buffer>();

  constructor(events: readonly FeedEvent[], textOf: TextOf) {
    this.events = events;
    this.#textOf = textOf;
  }

  /** @param complete see {@link EventIds.format} */
  frame(parts: readonly Part[], complete: boolean): Buffer {
    const key = `${complete}${parts.map(({ event, form }) => ` ${event.number} ${form}`).join('')}`;
    const known = this.#frames.get(key);
    if (known !== undefined) return known;
    const frame = Buffer.from(parts.map((part) => this.#textOf(part, complete)).join(''));
    this.#frames.set(key, frame);
    return frame;
  }
}

/** A stream that shares a digest. */
export interface Receiver {
  /** The first interval may have begun before the stream joined. */
  receive(interval: Interval): void;
  /** A subject that the stream may know has ended, and nothing more will come of it. */
  hidden(end: FeedEvent): void;
}

/**
 * One digest for all streams whose clients see the same work and ask for the same of it, as every dashboard
 * does: an event costs it once, however many they are. What each stream sends of an interval is its own affair.
 */
class SharedDigest {
  readonly #feed: Feed;
  readonly #filter: WorkFilter;
  readonly #textOf: TextOf;
  readonly #digest: EventDigest<FeedEvent>;
  readonly #receivers = new Set<Receiver>();
  readonly #unwatch: () => void;
  /** The number of the latest event when the interval began, or when a stream brought more in it: see {@link heard}. */
  #heardUpTo = 0;

  constructor(feed: Feed, viewer: Viewer, query: EventsQuery) {
    this.#feed = feed;
    this.#filter = new WorkFilter(query);
    this.#textOf = ({ event, form }, complete) =>
      `id: ${feed.ids.format(event.number, complete)}\n${event.textFor(viewer, form)}`;
    this.#digest = new EventDigest({
      intervalMs: query.interval_ms ?? 0,
      isBrief: (event) => this.#isBrief(event),
      send: (events) => this.#send(events),
    });
    this.#unwatch = feed.watchAll(viewer, (event) => this.#add(event));
  }

  get unused(): boolean {
    return this.#receivers.size === 0;
  }

  join(receiver: Receiver): void {
    this.#receivers.add(receiver);
    this.heard();
  }

  /** A stream has brought how things stand now: the end of what goes on is no longer one of many. */
  heard(): void {
    this.#heardUpTo = this.#feed.latest;
  }

  leave(receiver: Receiver): void {
    this.#receivers.delete(receiver);
    if (!this.unused) return;
    this.#unwatch();
    this.#digest.stop();
  }

  #isBrief({ subject }: FeedEvent): boolean {
    return subject.acceptedEvent > this.#heardUpTo;
  }

  #add(event: FeedEvent): void {
    if (event.matches(this.#filter)) {
      this.#digest.add(event);
      return;
    }
    const known = event.subject.finished && !this.#isBrief(event);
    if (this.#digest.hidden(event) || !known) return;
    for (const receiver of this.#receivers) receiver.hidden(event);
  }

  #send(events: readonly FeedEvent[]): void {
    const interval = new Interval(events, this.#textOf);
    this.heard();
    for (const receiver of [...this.#receivers]) receiver.receive(interval);
  }
}

/** A stream's share in a digest. */
export interface Share {
  /** To be called when the stream has brought a part of its snapshot. */
  heard(): void;
  leave(): void;
}

/** The digests of all streams that have an interval. */
export class SharedDigests {
  readonly #feed: Feed;
  readonly #digests = new Map<string, SharedDigest>();

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  /** @param query with an interval */
  join(viewer: Viewer, query: EventsQuery, receiver: Receiver): Share {
    // In which form the events are sent, each stream decides.
    const { view: _, ...asked } = query;
    const key = JSON.stringify([audienceOf(viewer), asked]);
    const digest = this.#digests.get(key) ?? new SharedDigest(this.#feed, viewer, query);
    this.#digests.set(key, digest);
    digest.join(receiver);
    return {
      heard: () => digest.heard(),
      leave: () => {
        digest.leave(receiver);
        if (digest.unused && this.#digests.get(key) === digest) this.#digests.delete(key);
      },
    };
  }
}
