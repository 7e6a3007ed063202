// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../http/access/client.ts';
import { EventDigest, KnownSubjects } from '../../http/event-digest.ts';
import type { EventStream } from '../../http/event-stream.ts';
import { documentFor, matcherOf } from './document.ts';
import type { FleetEvent } from './feed.ts';
import type { FleetEventsQuery } from './schema.ts';
import { sees } from './views.ts';

/** Of so many transfers a stream remembers that the client has had their segments; others are sent again. */
const MOST_REMEMBERED = 1000;
/** How many transfers of a snapshot are sent at most before the client has taken some of them. */
const SLICE = 100;

/** A client's stream of all transfers that it sees and asks for. */
export class FleetWatch {
  readonly #stream: EventStream;
  readonly #client: Client;
  readonly #basic: boolean;
  readonly #matches: ReturnType<typeof matcherOf>;
  readonly #idOf: (number: number) => string;
  /** With an interval: gathers what it brings. */
  readonly #digest: EventDigest<FleetEvent> | undefined;
  /** With an interval: what the client has heard of. */
  readonly #known = new KnownSubjects();
  /** Transfers that have not ended, whose segments the client has had. */
  readonly #had = new Set<string>();

  /** @param idOf the id of an event on the wire */
  constructor(
    stream: EventStream,
    client: Client,
    query: FleetEventsQuery,
    idOf: (number: number) => string,
  ) {
    this.#stream = stream;
    this.#client = client;
    this.#basic = query.view === 'basic';
    this.#matches = matcherOf(query);
    this.#idOf = idOf;
    const { interval_ms: intervalMs } = query;
    if (!intervalMs) return;
    this.#digest = new EventDigest({
      intervalMs,
      isBrief: (event) => !this.#known.has(event),
      send: (events) => this.#sendAll(events),
    });
  }

  end(): void {
    this.#digest?.stop();
  }

  /** Sends how transfers stand, as fast as the client takes it. */
  async begin(events: Iterable<FleetEvent>): Promise<void> {
    let sent = 0;
    for (const event of events) {
      if (!this.#wants(event)) continue;
      if (this.#digest !== undefined) this.#known.sent(event);
      this.#stream.send(this.#textOf(event));
      if (++sent % SLICE === 0 || this.#stream.full) await this.#stream.drained();
      if (this.#stream.ended) return;
    }
  }

  tell(event: FleetEvent): void {
    const { id, finished } = event.subject;
    if (!this.#wants(event)) {
      this.#digest?.hidden(event);
      this.#known.forgetEnded(event);
      // Nothing more will come of it.
      if (finished) this.#had.delete(id);
    } else if (this.#digest === undefined) {
      if (event.kind === 'progress') this.#stream.sendIfIdle(() => this.#textOf(event));
      else this.#stream.send(this.#textOf(event));
    } else {
      this.#digest.add(event);
    }
  }

  /** What an interval has brought, in one write. */
  #sendAll(events: readonly FleetEvent[]): void {
    if (this.#stream.ended) return;
    for (const event of events) this.#known.sent(event);
    const due = this.#stream.idle ? events : events.filter(({ kind }) => kind === 'status');
    if (due.length > 0) this.#stream.send(due.map((event) => this.#textOf(event)).join(''));
  }

  #wants(event: FleetEvent): boolean {
    return sees(this.#client, event) && this.#matches(event.document);
  }

  #remember(id: string): void {
    this.#had.add(id);
    if (this.#had.size <= MOST_REMEMBERED) return;
    const [oldest = ''] = this.#had;
    this.#had.delete(oldest);
  }

  #textOf(event: FleetEvent): string {
    const { id, finished } = event.subject;
    const form = this.#basic ? 'basic' : this.#had.has(id) ? 'brief' : 'whole';
    if (finished) this.#had.delete(id);
    else if (event.document.segments !== null) this.#remember(id);
    return eventText(event, this.#client, this.#idOf(event.number), form);
  }
}

/** `brief`: without segments, which the client has had; `basic`: without timings too. */
export type EventForm = 'whole' | 'brief' | 'basic';

/** An event as it goes over the wire. */
export function eventText(
  { kind, owner, document }: FleetEvent,
  client: Client,
  id: string,
  form: EventForm,
): string {
  const { segments, timings, ...basic } = documentFor(client, owner, document);
  const brief = segments === null ? { segments, timings, ...basic } : { timings, ...basic };
  const data = { whole: { segments, timings, ...basic }, brief, basic }[form];
  // JSON escapes line breaks, so it is one line of data.
  return `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
}
