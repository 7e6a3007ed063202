// SPDX-License-Identifier: Apache-2.0
import { SlotMap } from '../../base/slots.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { EventHistory } from './event-history.ts';
import { EventIds } from './event-ids.ts';
import type { EventKind, FeedEvent, Subject } from './feed-event.ts';
import type { Transfer } from './transfer.ts';
import { TransferEvent } from './transfer-event.ts';

/** Receives events. */
export type Watcher = (event: FeedEvent) => void;

/** How long events are kept for those that may come back, once nobody watches any more. */
const KEPT_MS = 300_000;
/** Of all histories together, in characters, and of one. */
const MAX_KEPT = 2 ** 25;
const MAX_KEPT_OF_ONE = 2 ** 20;

/** Those that see the same work in the same way. */
interface Audience {
  readonly watchers: Set<Watcher>;
  readonly history: EventHistory;
  /** Ends the audience; undefined while somebody watches. */
  end: NodeJS.Timeout | undefined;
}

/** The audience of those who see everybody's work; no client has such a name. */
const EVERYBODY = '';

/** Those of one audience see the same work in the same way. */
export function audienceOf(viewer: Viewer): string {
  return seesAllTransfers(viewer) ? EVERYBODY : viewer.name;
}

/**
 * Brings each change of a transfer or replication to those that watch it, or all that they see. What
 * other clients watch costs it nothing.
 */
export class Feed {
  readonly ids = new EventIds();
  readonly #audiences = new Map<string, Audience>();
  readonly #ofOne = new SlotMap<string, Set<Watcher>>();
  #latest = 0;

  /** The number of the latest event. */
  get latest(): number {
    return this.#latest;
  }

  publish(kind: EventKind, transfer: Transfer): void {
    this.publishOf(transfer, kind, (number) => new TransferEvent(number, kind, transfer));
  }

  /** @param make the event with that number, if anybody watches */
  publishOf(subject: Subject, kind: EventKind, make: (number: number) => FeedEvent): void {
    const number = ++this.#latest;
    if (kind === 'status') note(subject, number);
    const ofOne = this.#ofOne.get(subject.id);
    const ofClient = this.#audiences.get(subject.origin.client);
    const ofAll = this.#audiences.get(EVERYBODY);
    if (ofOne === undefined && ofClient === undefined && ofAll === undefined) return;
    const event = make(number);
    // Copies, for a watcher may end its subscription when it hears of the end.
    for (const watcher of [...(ofOne ?? [])]) watcher(event);
    for (const audience of [ofClient, ofAll]) {
      if (audience === undefined) continue;
      if (kind === 'status') audience.history.add(event);
      for (const watcher of [...audience.watchers]) watcher(event);
    }
  }

  /** Watches one subject. @returns a function that ends it */
  watch(id: string, watcher: Watcher): () => void {
    const watchers = this.#ofOne.get(id) ?? new Set();
    this.#ofOne.set(id, watchers.add(watcher));
    return () => {
      if (watchers.delete(watcher) && watchers.size === 0) this.#ofOne.delete(id);
    };
  }

  /** Watches all that a client sees. @returns a function that ends it */
  watchAll(viewer: Viewer, watcher: Watcher): () => void {
    const name = audienceOf(viewer);
    const audience = this.#audiences.get(name) ?? this.#newAudience(viewer);
    this.#audiences.set(name, audience);
    clearTimeout(audience.end);
    audience.end = undefined;
    audience.watchers.add(watcher);
    return () => {
      if (!audience.watchers.delete(watcher) || audience.watchers.size > 0) return;
      audience.end = setTimeout(() => this.#audiences.delete(name), KEPT_MS).unref();
    };
  }

  /**
   * The changes of status that a client has missed.
   *
   * @param number of the last event that it has received
   * @returns undefined if they are not all known any more
   */
  missed(viewer: Viewer, number: number): FeedEvent[] | undefined {
    if (number > this.#latest) return undefined;
    if (number === this.#latest) return [];
    return this.#audiences.get(audienceOf(viewer))?.history.after(number);
  }

  #newAudience({ name, scopes }: Viewer): Audience {
    const share = () => Math.min(MAX_KEPT_OF_ONE, MAX_KEPT / this.#audiences.size);
    const history = new EventHistory({ name, scopes }, this.#latest, share);
    return { watchers: new Set(), history, end: undefined };
  }
}

function note(subject: Subject, number: number): void {
  if (subject.latestEvent === 0 && subject.status === 'queued') subject.acceptedEvent = number;
  if (subject.runningEvent === 0 && subject.status === 'running') subject.runningEvent = number;
  subject.latestEvent = number;
}
