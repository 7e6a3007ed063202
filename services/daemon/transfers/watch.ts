// SPDX-License-Identifier: Apache-2.0
import type { Viewer } from '../../http/access/visibility.ts';
import { EventDigest } from '../../http/event-digest.ts';
import type { EventStream } from '../../http/event-stream.ts';
import type { Received } from './event-ids.ts';
import { transferFilter } from './filter.ts';
import type { EventsQuery, Status } from './schema.ts';
import type { TransferService } from './service.ts';
import type { Transfer } from './transfer.ts';
import { type EventForm, TransferEvent } from './transfer-event.ts';

/** How many events are made for a client before it has taken some of them. */
const SLICE = 100;

/** Tells a client that came back that its stream begins anew. */
export function snapshotText(received: Received): string {
  if (received === undefined) return '';
  const reason =
    'Events since that Last-Event-ID are not known any more: what follows is how things stand.';
  return `event: snapshot\ndata: ${JSON.stringify({ reason })}\n\n`;
}

/** A client's stream of all transfers that it sees and asks for. */
export class TransfersWatch {
  readonly #stream: EventStream;
  readonly #transfers: TransferService;
  readonly #viewer: Viewer;
  readonly #query: EventsQuery;
  /** With an interval: gathers what it brings. */
  readonly #digest: EventDigest<TransferEvent> | undefined;
  readonly #matches: ReturnType<typeof transferFilter>;
  /** The stream has brought the effect of all events up to this one. */
  #since = 0;
  /** While a snapshot is on its way: the id of the last transfer in it. */
  #reached: string | undefined;
  #unsubscribe = () => {};

  constructor(stream: EventStream, transfers: TransferService, viewer: Viewer, query: EventsQuery) {
    this.#stream = stream;
    this.#transfers = transfers;
    this.#viewer = viewer;
    this.#query = query;
    this.#matches = transferFilter(query);
    const { interval_ms: intervalMs } = query;
    if (intervalMs) this.#digest = new EventDigest(intervalMs, (events) => this.#sendAll(events));
  }

  /** Goes on behind what the client has received, or begins with all that is not over. */
  async run(received: Received): Promise<void> {
    if (received?.is === 'everything' && (await this.#resume(received.upTo))) return;
    this.#stream.send(snapshotText(received));
    await this.#sendSnapshot();
  }

  end(): void {
    this.#unsubscribe();
    this.#digest?.stop();
  }

  /** @returns whether the stream needs no snapshot */
  async #resume(upTo: number): Promise<boolean> {
    const { feed } = this.#transfers;
    this.#since = upTo;
    for (let number = upTo; !this.#stream.ended; await this.#stream.drained()) {
      const missed = feed.missed(this.#viewer, number);
      if (missed === undefined) return false;
      if (missed.length === 0) {
        this.#subscribe();
        return true;
      }
      for (const event of missed.slice(0, SLICE)) {
        this.#send(event);
        number = event.number;
      }
    }
    return true;
  }

  async #sendSnapshot(): Promise<void> {
    const { feed } = this.#transfers;
    this.#since = feed.latest;
    this.#reached = '';
    this.#subscribe();
    for (let reached = ''; !this.#stream.ended; await this.#stream.drained()) {
      const found = this.#transfers.unfinished(this.#viewer, reached, SLICE + 1);
      const slice = found.slice(0, SLICE);
      const complete = found.length === slice.length;
      const wanted = slice.filter((transfer) => this.#matches(transfer));
      reached = slice.at(-1)?.id ?? reached;
      this.#reached = complete ? undefined : reached;
      for (const [index, transfer] of wanted.entries()) {
        const event = new TransferEvent(feed.latest, 'status', transfer);
        const last = complete && index === wanted.length - 1;
        this.#digest?.told(event);
        this.#stream.send(this.#textOf(event, this.#form('whole'), last));
      }
      if (complete) {
        // With an id a client that comes back goes on from here.
        const id = feed.ids.format(feed.latest);
        if (wanted.length === 0) this.#stream.send(`: nothing more\nid: ${id}\n\n`);
        return;
      }
    }
  }

  #subscribe(): void {
    if (this.#stream.ended) return;
    this.#unsubscribe = this.#transfers.feed.watchAll(this.#viewer, (event) => {
      if (this.#isComing(event.transfer)) {
        // The snapshot has only what is not over by then.
        if (event.transfer.over) this.#send(event, 'whole');
      } else if (this.#digest === undefined) {
        this.#send(event);
      } else if (this.#matches(event.transfer, event)) {
        this.#digest.add(event);
      } else {
        this.#digest.hidden(event);
      }
    });
  }

  /** Whether a snapshot that is on its way will have it. */
  #isComing({ id }: Transfer): boolean {
    return this.#reached !== undefined && id > this.#reached;
  }

  #send(event: TransferEvent, form: EventForm = this.#hasHad(event) ? 'brief' : 'whole'): void {
    if (!this.#matches(event.transfer, event)) return;
    this.#digest?.told(event);
    const text = () => this.#textOf(event, this.#form(form), this.#reached === undefined);
    if (event.kind === 'progress' && form === 'brief') this.#stream.sendIfIdle(text);
    else this.#stream.send(text());
  }

  /** What an interval has brought, in one write. */
  #sendAll(events: TransferEvent[]): void {
    if (this.#stream.ended) return;
    const complete = this.#reached === undefined;
    const textOf = (event: TransferEvent) => {
      const form = this.#digest?.knows(event) ? 'brief' : 'whole';
      this.#digest?.told(event);
      return this.#textOf(event, this.#form(form), complete);
    };
    const progress = events.filter(({ kind }) => kind === 'progress');
    const status = events.filter(({ kind }) => kind === 'status');
    if (progress.length > 0) this.#stream.sendIfIdle(() => progress.map(textOf).join(''));
    if (status.length > 0) this.#stream.send(status.map(textOf).join(''));
  }

  #form(form: EventForm): EventForm {
    return this.#query.view === 'basic' ? 'basic' : form;
  }

  #textOf(event: TransferEvent, form: EventForm, complete: boolean): string {
    const id = this.#transfers.feed.ids.format(event.number, complete);
    return `id: ${id}\n${event.textFor(this.#viewer, form)}`;
  }

  /** Whether the stream has brought that transfer before, and its segments with it. */
  #hasHad({ number, transfer, engine }: TransferEvent): boolean {
    const { acceptedEvent, runningEvent, plan } = transfer;
    const { status: statuses, engine: wantedEngine } = this.#query;
    const wanted = (status: Status) => statuses === undefined || statuses.includes(status);
    // Before it started, another engine was to copy it.
    if (wantedEngine !== undefined && number === runningEvent && engine !== plan.choice.engine) {
      return false;
    }
    const hasBeenQueued =
      acceptedEvent > this.#since
        ? number > acceptedEvent
        : runningEvent === 0 || runningEvent > this.#since;
    const hasBeenRunning = runningEvent !== 0 && number > runningEvent;
    return (wanted('queued') && hasBeenQueued) || (wanted('running') && hasBeenRunning);
  }
}
