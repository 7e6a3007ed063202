// SPDX-License-Identifier: Apache-2.0

/** How many events an interval sends of work that began and ended within it. */
export const MOST_BRIEF = 30;

/** An event of a transfer or a replication. */
export interface DigestedEvent {
  /** In the order of events. */
  readonly number: number;
  readonly kind: 'progress' | 'status';
  readonly subject: { readonly id: string; readonly finished: boolean };
}

export interface DigestOptions<Event extends DigestedEvent> {
  intervalMs: number;
  /** Whether the event's subject, which has ended, also began within the interval: no client knows of it. */
  isBrief(event: Event): boolean;
  /** Receives what an interval has brought, in the order of its numbers. */
  send(events: Event[]): void;
}

/**
 * Gathers the events of an interval: of each subject the latest one counts. However many come
 * and go, an interval keeps and sends no more than those that go on, and some.
 */
export class EventDigest<Event extends DigestedEvent> {
  readonly #options: DigestOptions<Event>;
  /** By subject. */
  readonly #latest = new Map<string, Event>();
  /** Of those that began and ended within the interval, in the order of their ends. */
  readonly #brief = new Map<string, Event>();
  #timer: NodeJS.Timeout | undefined;
  #flushedAt = 0;

  constructor(options: DigestOptions<Event>) {
    this.#options = options;
  }

  add(event: Event): void {
    const { id, finished } = event.subject;
    if (finished && this.#options.isBrief(event)) {
      this.#latest.delete(id);
      this.#addBrief(event);
    } else {
      // A status tells more than progress.
      const keeps = event.kind === 'progress' && this.#latest.get(id)?.kind === 'status';
      if (!keeps) this.#latest.set(id, event);
    }
    this.#timer ??= this.#flushLater();
  }

  /** A filter hides this event. @returns whether an earlier one of its subject is still to be sent */
  hidden(event: Event): boolean {
    const { id, finished } = event.subject;
    const waiting = this.#latest.get(id);
    if (waiting !== undefined && finished && this.#options.isBrief(event)) {
      this.#latest.delete(id);
      this.#addBrief(waiting);
    }
    return waiting !== undefined;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #addBrief(event: Event): void {
    this.#brief.set(event.subject.id, event);
    if (this.#brief.size <= MOST_BRIEF) return;
    const [oldest] = this.#brief.keys();
    this.#brief.delete(oldest as string);
  }

  /** Together with what else comes in this turn, unless the last time was just now. */
  #flushLater(): NodeJS.Timeout {
    const wait = this.#flushedAt + this.#options.intervalMs - performance.now();
    return setTimeout(() => this.#flush(), Math.max(0, wait));
  }

  #flush(): void {
    this.#timer = undefined;
    this.#flushedAt = performance.now();
    const events = [...this.#latest.values(), ...this.#brief.values()];
    this.#latest.clear();
    this.#brief.clear();
    // A client that goes on from an event must have received all before it.
    this.#options.send(events.sort((a, b) => a.number - b.number));
  }
}

/** What a stream has brought of the subjects that go on. */
export class KnownSubjects {
  /** The number of each one's latest event that it has brought. */
  readonly #latest = new Map<string, number>();

  has({ subject }: DigestedEvent): boolean {
    return this.#latest.has(subject.id);
  }

  /** Whether this event is later than what the stream has brought of its subject. */
  lacks({ number, subject }: DigestedEvent): boolean {
    return number > (this.#latest.get(subject.id) ?? 0);
  }

  /** The stream has brought this event. */
  sent({ number, subject }: DigestedEvent): void {
    if (subject.finished) this.#latest.delete(subject.id);
    else this.#latest.set(subject.id, number);
  }

  /** Forgets the event's subject if it has ended: no other event of it will come. */
  forgetEnded({ subject }: DigestedEvent): void {
    if (subject.finished) this.#latest.delete(subject.id);
  }
}
