// SPDX-License-Identifier: Apache-2.0
import type { Transfer } from './transfer.ts';

export type EventKind = 'progress' | 'status';

/** A change of a transfer. */
export class TransferEvent {
  readonly kind: EventKind;
  readonly transfer: Transfer;
  #text: string | undefined;

  constructor(kind: EventKind, transfer: Transfer) {
    this.kind = kind;
    this.transfer = transfer;
  }

  /** As it goes over the wire: made once for all who listen, and only where somebody does. */
  get text(): string {
    // JSON has no line breaks of its own, so it is one line of data.
    this.#text ??= `event: ${this.kind}\ndata: ${JSON.stringify(this.transfer)}\n\n`;
    return this.#text;
  }
}

export type Subscriber = (event: TransferEvent) => void;

/** Tells those who asked of each change of a transfer, or of all of them. */
export class Feed {
  readonly #ofAll = new Set<Subscriber>();
  readonly #ofOne = new Map<string, Set<Subscriber>>();

  publish(kind: EventKind, transfer: Transfer): void {
    const ofOne = this.#ofOne.get(transfer.id);
    if (ofOne === undefined && this.#ofAll.size === 0) return;
    const event = new TransferEvent(kind, transfer);
    // A copy, for a subscriber may end its subscription when it hears of the end.
    for (const subscriber of [...(ofOne ?? []), ...this.#ofAll]) subscriber(event);
  }

  /** @param id of one transfer; undefined for all. @returns a function that ends it */
  subscribe(id: string | undefined, subscriber: Subscriber): () => void {
    if (id === undefined) {
      this.#ofAll.add(subscriber);
      return () => this.#ofAll.delete(subscriber);
    }
    const subscribers = this.#ofOne.get(id) ?? new Set();
    this.#ofOne.set(id, subscribers.add(subscriber));
    return () => {
      if (subscribers.delete(subscriber) && subscribers.size === 0) this.#ofOne.delete(id);
    };
  }
}
