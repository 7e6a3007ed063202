// SPDX-License-Identifier: Apache-2.0
import { seesAllTransfers, type Viewer } from '../access/visibility.ts';
import { basicDocumentFor, documentFor } from './document.ts';
import type { Transfer } from './transfer.ts';

export type EventKind = 'progress' | 'status';

/** A change of a transfer. */
export class TransferEvent {
  readonly kind: EventKind;
  readonly transfer: Transfer;
  readonly #texts: Partial<Record<`${'whole' | 'brief'} ${boolean}`, string>> = {};

  constructor(kind: EventKind, transfer: Transfer) {
    this.kind = kind;
    this.transfer = transfer;
  }

  /**
   * As it goes over the wire: made once for all who see the same of it, and only if somebody does.
   *
   * @param part `brief`: without the segments, which can be 4096 and never change: for those that
   *   have had them
   */
  textFor(viewer: Viewer, part: 'whole' | 'brief'): string {
    const brief = part === 'brief' && this.transfer.plan.segmented;
    const form = `${brief ? 'brief' : 'whole'} ${seesAllTransfers(viewer)}` as const;
    this.#texts[form] ??= this.#render(viewer, brief);
    return this.#texts[form];
  }

  #render(viewer: Viewer, brief: boolean): string {
    const { transfer } = this;
    const shown = brief
      ? { ...basicDocumentFor(viewer, transfer), timings: transfer.timings }
      : documentFor(viewer, transfer);
    // JSON escapes line breaks, so it is one line of data.
    return `event: ${this.kind}\ndata: ${JSON.stringify(shown)}\n\n`;
  }
}

/** Receives the events of one transfer. */
export type Watcher = (event: TransferEvent) => void;

/** Receives the events of all transfers that a client sees. */
export type ClientWatcher = (event: TransferEvent, first: boolean) => void;

interface ClientSubscription {
  readonly watcher: ClientWatcher;
  /** Events up to this number were published before it. */
  readonly since: number;
}

/** Whose events those hear who see everybody's; no client has such a name. */
const EVERYBODY = '';

/**
 * Brings each change of a transfer to those that watch it, or all transfers that they see. What
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
    const ofAll = this.#ofClient.get(EVERYBODY);
    if (ofOne === undefined && ofClient === undefined && ofAll === undefined) return;
    const event = new TransferEvent(kind, transfer);
    // Copies, for a watcher may end its subscription when it hears of the end.
    if (ofOne !== undefined) for (const watcher of [...ofOne]) watcher(event);
    if (ofClient === undefined && ofAll === undefined) return;
    const before = this.#latest.get(transfer) ?? 0;
    this.#latest.set(transfer, ++this.#published);
    for (const { watcher, since } of [...(ofClient ?? []), ...(ofAll ?? [])]) {
      watcher(event, before <= since);
    }
  }

  /** Watches one transfer. @returns a function that ends it */
  watch(id: string, watcher: Watcher): () => void {
    return subscribe(this.#ofOne, id, watcher);
  }

  /**
   * Watches all transfers that a client sees.
   *
   * @param watcher also hears whether it is the first event of that transfer that it receives
   * @returns a function that ends it
   */
  watchAll(viewer: Viewer, watcher: ClientWatcher): () => void {
    const owner = seesAllTransfers(viewer) ? EVERYBODY : viewer.name;
    return subscribe(this.#ofClient, owner, { watcher, since: this.#published });
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
