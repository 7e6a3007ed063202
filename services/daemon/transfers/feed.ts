// SPDX-License-Identifier: Apache-2.0
import type { Transfer } from './transfer.ts';

export type EventKind = 'progress' | 'status';

/** A change of a transfer. */
export class TransferEvent {
  readonly kind: EventKind;
  readonly transfer: Transfer;
  #text: string | undefined;
  #brief: string | undefined;

  constructor(kind: EventKind, transfer: Transfer) {
    this.kind = kind;
    this.transfer = transfer;
  }

  /** As it goes over the wire: made once for all who listen, and only if somebody does. */
  get text(): string {
    this.#text ??= this.#render(this.transfer);
    return this.#text;
  }

  /** Without the segments, which can be 4096 and never change: for those that have had them. */
  get brief(): string {
    const { segmented } = this.transfer.plan;
    this.#brief ??= segmented
      ? this.#render({ ...this.transfer.toJSON(), segments: undefined })
      : this.text;
    return this.#brief;
  }

  #render(document: object): string {
    // JSON escapes line breaks, so it is one line of data.
    return `event: ${this.kind}\ndata: ${JSON.stringify(document)}\n\n`;
  }
}

/** Receives the events of one transfer. */
export type Watcher = (event: TransferEvent) => void;

/** Receives the events of all transfers of a client. */
export type ClientWatcher = (event: TransferEvent, first: boolean) => void;

interface ClientSubscription {
  readonly watcher: ClientWatcher;
  /** Events up to this number were published before it. */
  readonly since: number;
}

/**
 * Brings each change of a transfer to those that watch it, or all transfers of its client. What
 * other clients watch costs it nothing.
 */
export class Feed {
  readonly #ofClient = new Map<string, Set<ClientSubscription>>();
  readonly #ofOne = new Map<string, Set<Watcher>>();
  /** Events that watchers of clients have had are numbered. */
  #published = 0;
  /** The latest such event of each transfer that is not finished. */
  readonly #latest = new WeakMap<Transfer, number>();

  publish(kind: EventKind, transfer: Transfer): void {
    const ofOne = this.#ofOne.get(transfer.id);
    const ofClient = this.#ofClient.get(transfer.origin.client);
    if (ofOne === undefined && ofClient === undefined) return;
    const event = new TransferEvent(kind, transfer);
    // Copies, for a watcher may end its subscription when it hears of the end.
    if (ofOne !== undefined) for (const watcher of [...ofOne]) watcher(event);
    if (ofClient === undefined) return;
    const before = this.#latest.get(transfer) ?? 0;
    this.#latest.set(transfer, ++this.#published);
    for (const { watcher, since } of [...ofClient]) watcher(event, before <= since);
  }

  /** Watches one transfer. @returns a function that ends it */
  watch(id: string, watcher: Watcher): () => void {
    return subscribe(this.#ofOne, id, watcher);
  }

  /**
   * Watches all transfers of a client.
   *
   * @param watcher also hears whether it is the first event of that transfer that it receives
   * @returns a function that ends it
   */
  watchAll(client: string, watcher: ClientWatcher): () => void {
    return subscribe(this.#ofClient, client, { watcher, since: this.#published });
  }
}

function subscribe<Subscription>(
  all: Map<string, Set<Subscription>>,
  name: string,
  subscription: Subscription,
): () => void {
  const subscriptions = all.get(name) ?? new Set();
  all.set(name, subscriptions.add(subscription));
  return () => {
    if (subscriptions.delete(subscription) && subscriptions.size === 0) all.delete(name);
  };
}
