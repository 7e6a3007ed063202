// SPDX-License-Identifier: Apache-2.0

/** How many events an interval sends of work that began and ended within it. */
export const MOST_BRIEF = 30;

/** An event of a transfer or a replication. */
export interface DigestedEvent {
  /** In the order of events. */
  readonly number: number;
  readonly kind: 'progress' | 'status';
  readonly subject: { readonly id: string; readonly over: boolean };
}

/**
 * Gathers the events of an interval: of each subject the latest one counts. However many come
 * and go, a stream has no more to send than those that go on, and some.
 */
export class EventDigest<Event extends DigestedEvent> {
  readonly #send: (events: Event[]) => void;
  readonly #intervalMs: number;
  /** By subject, in the order of their latest events. */
  readonly #latest = new Map<string, Event>();
  /** Subjects that the client knows and that go on. */
  readonly #known = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #flushedAt = 0;

  /** @param send what an interval has brought, in the order of its numbers */
  constructor(intervalMs: number, send: (events: Event[]) => void) {
    this.#intervalMs = intervalMs;
    this.#send = send;
  }

  /** Whether the client knows of a subject that goes on. */
  knows({ subject }: DigestedEvent): boolean {
    return this.#known.has(subject.id);
  }

  add(event: Event): void {
    const { id } = event.subject;
    const before = this.#latest.get(id);
    this.#latest.delete(id);
    // A status tells more than progress.
    const keeps = event.kind === 'progress' && before?.kind === 'status';
    this.#latest.set(id, keeps ? before : event);
    // Together with what else comes in this turn, unless the last time was just now.
    const wait = this.#flushedAt + this.#intervalMs - performance.now();
    this.#timer ??= setTimeout(() => this.#flush(), Math.max(0, wait));
  }

  /** The client has received this event, such as in a snapshot. */
  sent({ subject }: DigestedEvent): void {
    if (subject.over) this.#known.delete(subject.id);
    else this.#known.add(subject.id);
  }

  /** A filter hides this event from the client: if it is a subject's end, no other one will come. */
  hidden({ subject }: DigestedEvent): void {
    if (subject.over) this.#known.delete(subject.id);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    this.#timer = undefined;
    this.#flushedAt = performance.now();
    const events = [...this.#latest.values()];
    this.#latest.clear();
    const brief = events.filter((event) => event.subject.over && !this.knows(event));
    const left = new Set(brief.slice(0, -MOST_BRIEF));
    // A status that was kept is older than what came behind it. A client that goes on from an event
    // must have received all before it.
    const sent = events.filter((event) => !left.has(event));
    this.#send(sent.toSorted((a, b) => a.number - b.number));
  }
}
