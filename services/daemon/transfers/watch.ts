// SPDX-License-Identifier: Apache-2.0
import type { Viewer } from '../../http/access/visibility.ts';
import { KnownSubjects } from '../../http/event-digest.ts';
import type { EventStream } from '../../http/event-stream.ts';
import type { Received } from './event-ids.ts';
import type { Feed } from './feed.ts';
import type { EventForm, FeedEvent, Subject } from './feed-event.ts';
import { WorkFilter } from './filter.ts';
import type { EventsQuery } from './list-schema.ts';
import type { Interval, Part, Receiver, Share, SharedDigests } from './shared-digest.ts';

/** How many events are made for a client at most before it has taken some of them. */
const SLICE = 100;

/** Knows what is not over of one kind of work. */
export interface WorkSource {
  /**
   * How those stand that a client sees and that have not finished, in the order of their acceptance.
   *
   * @param after the id of the last one of those before; empty: from the first
   */
  unfinished(viewer: Viewer, after: string, count: number): FeedEvent[];
}

/** Tells a client that came back that its stream begins anew. */
export function snapshotText(received: Received): string {
  if (received === undefined) return '';
  const reason =
    'Events since that Last-Event-ID are not known any more: what follows is how things stand.';
  return `event: snapshot\ndata: ${JSON.stringify({ reason })}\n\n`;
}

export interface WorkWatchOptions {
  feed: Feed;
  digests: SharedDigests;
  sources: readonly WorkSource[];
}

/** A client's stream of all work that it sees and asks for. */
export class WorkWatch implements Receiver {
  readonly #stream: EventStream;
  readonly #options: WorkWatchOptions;
  readonly #viewer: Viewer;
  readonly #query: EventsQuery;
  readonly #filter: WorkFilter;
  /** With an interval; without one, the numbers of events tell it. */
  readonly #known: KnownSubjects | undefined;
  /** The stream has brought the effect of all events up to this one. */
  #since = 0;
  /** The latest event when the stream subscribed to those that follow. */
  #subscribedAt = 0;
  /** While a snapshot is on its way: the id of the last subject in it. */
  #reached: string | undefined;
  /** With an interval, once subscribed. */
  #share: Share | undefined;
  #unsubscribe = () => {};

  constructor(stream: EventStream, options: WorkWatchOptions, viewer: Viewer, query: EventsQuery) {
    this.#stream = stream;
    this.#options = options;
    this.#viewer = viewer;
    this.#query = query;
    this.#filter = new WorkFilter(query);
    if (query.interval_ms) this.#known = new KnownSubjects();
  }

  /** Goes on behind what the client has received, or begins with all that has not finished. */
  async run(received: Received): Promise<void> {
    if (received?.is === 'everything' && (await this.#resume(received.upTo))) return;
    this.#stream.send(snapshotText(received));
    await this.#sendSnapshot();
  }

  end(): void {
    this.#unsubscribe();
  }

  /** @returns whether the stream needs no snapshot */
  async #resume(upTo: number): Promise<boolean> {
    this.#since = upTo;
    for (let number = upTo; !this.#stream.ended; await this.#stream.drained()) {
      const missed = this.#options.feed.missed(this.#viewer, number);
      if (missed === undefined) return false;
      if (missed.length === 0) {
        this.#subscribe();
        return true;
      }
      for (const event of missed.slice(0, SLICE)) {
        if (this.#stream.full) break;
        this.#send(event);
        number = event.number;
      }
    }
    return true;
  }

  async #sendSnapshot(): Promise<void> {
    const { feed } = this.#options;
    this.#since = feed.latest;
    this.#reached = '';
    this.#subscribe();
    for (let reached = ''; !this.#stream.ended; await this.#stream.drained()) {
      const found = this.#unfinished(reached, SLICE + 1);
      const slice = found.slice(0, SLICE);
      const lastWanted = slice.findLastIndex((event) => event.matches(this.#filter));
      // What has happened since to those that were sent comes with the interval.
      const upToDate = this.#known === undefined || feed.latest === this.#subscribedAt;
      let done = 0;
      for (; done < slice.length; done++) {
        const event = slice[done] as FeedEvent;
        if (!event.matches(this.#filter)) continue;
        if (this.#stream.full) break;
        const last = found.length === slice.length && done === lastWanted;
        this.#known?.sent(event);
        this.#stream.send(this.#textOf(event, this.#form('whole'), last && upToDate));
      }
      this.#share?.heard();
      const complete = done === found.length;
      reached = slice[done - 1]?.subject.id ?? reached;
      this.#reached = complete ? undefined : reached;
      if (complete) {
        // With an id a client that comes back goes on from here.
        const id = feed.ids.format(feed.latest, upToDate);
        if (lastWanted < 0) this.#stream.send(`: nothing more\nid: ${id}\n\n`);
        return;
      }
    }
  }

  /** Of all sources, in the order of acceptance. */
  #unfinished(after: string, count: number): FeedEvent[] {
    const found = this.#options.sources.map((source) =>
      source.unfinished(this.#viewer, after, count),
    );
    return found
      .flat()
      .sort((a, b) => (a.subject.id < b.subject.id ? -1 : 1))
      .slice(0, count);
  }

  #subscribe(): void {
    if (this.#stream.ended) return;
    const { feed, digests } = this.#options;
    this.#subscribedAt = feed.latest;
    if (this.#known !== undefined) {
      const share = digests.join(this.#viewer, this.#query, this);
      this.#share = share;
      this.#unsubscribe = share.leave;
      return;
    }
    this.#unsubscribe = feed.watchAll(this.#viewer, (event) => {
      if (!this.#isComing(event.subject)) this.#send(event);
      // The snapshot has only what is not over by then.
      else if (event.subject.finished) this.#send(event, 'whole');
    });
  }

  /** Sends what an interval has brought in one write. */
  receive(interval: Interval): void {
    if (this.#stream.ended) return;
    const { idle } = this.#stream;
    const parts: Part[] = [];
    for (const event of interval.events) {
      if (this.#lacks(event) && (idle || event.kind === 'status')) {
        parts.push({ event, form: this.#form(this.#known?.has(event) ? 'brief' : 'whole') });
        this.#known?.sent(event);
      } else {
        this.#known?.forgetEnded(event);
      }
    }
    if (parts.length > 0) this.#stream.send(interval.frame(parts, this.#reached === undefined));
  }

  hidden(end: FeedEvent): void {
    this.#known?.forgetEnded(end);
  }

  /** Whether no snapshot has brought it, nor will one that is on its way. */
  #lacks(event: FeedEvent): boolean {
    const { number, subject } = event;
    if (number <= this.#subscribedAt || !this.#known?.lacks(event)) return false;
    return subject.finished || !this.#isComing(subject);
  }

  /** Whether a snapshot that is on its way will have it. */
  #isComing({ id }: Subject): boolean {
    return this.#reached !== undefined && id > this.#reached;
  }

  #send(event: FeedEvent, form: EventForm = this.#hasHad(event) ? 'brief' : 'whole'): void {
    if (!event.matches(this.#filter)) return;
    this.#known?.sent(event);
    const text = () => this.#textOf(event, this.#form(form), this.#reached === undefined);
    if (event.kind === 'progress' && form === 'brief') this.#stream.sendIfIdle(text);
    else this.#stream.send(text());
  }

  #form(form: EventForm): EventForm {
    return this.#query.view === 'basic' ? 'basic' : form;
  }

  #textOf(event: FeedEvent, form: EventForm, complete: boolean): string {
    const id = this.#options.feed.ids.format(event.number, complete);
    return `id: ${id}\n${event.textFor(this.#viewer, form)}`;
  }

  /** Whether the stream has brought that subject before, and all of it. */
  #hasHad(event: FeedEvent): boolean {
    const { acceptedEvent, runningEvent } = event.subject;
    const filter = this.#filter;
    if (event.hiddenBefore(filter)) return false;
    const hasBeenQueued =
      acceptedEvent > this.#since
        ? event.number > acceptedEvent
        : runningEvent === 0 || runningEvent > this.#since;
    const hasBeenRunning = runningEvent !== 0 && event.number > runningEvent;
    return (filter.wants('queued') && hasBeenQueued) || (filter.wants('running') && hasBeenRunning);
  }
}
