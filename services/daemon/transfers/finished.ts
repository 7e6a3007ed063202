// SPDX-License-Identifier: Apache-2.0
import { Fifo } from '../order/fifo.ts';
import type { Packed, PackedTransfers } from './packed.ts';

export interface FinishedLimits {
  /** How many finished transfers are kept. */
  transfers: number;
  /** How many segments they may have together, or labels in their place. */
  segments: number;
  /** For how long, in milliseconds. */
  ms: number;
}

/** Finished transfers of one client that may be forgotten. */
interface Shelf {
  /** The first to finish first. */
  readonly transfers: Fifo<Packed>;
  /** See {@link PackedTransfers.weightOf}. */
  weight: number;
}

/**
 * Finished transfers that may be forgotten. If they are too many, the client that has most loses
 * its oldest.
 */
export class Finished {
  readonly #limits: FinishedLimits;
  readonly #packed: PackedTransfers;
  readonly #shelves = new Map<string, Shelf>();
  readonly #total = { transfers: 0, weight: 0 };
  readonly #onForget: (transfer: Packed) => void;

  /** @param onForget receives each transfer that is forgotten */
  constructor(
    limits: FinishedLimits,
    packed: PackedTransfers,
    onForget: (transfer: Packed) => void,
  ) {
    this.#limits = limits;
    this.#packed = packed;
    this.#onForget = onForget;
  }

  /** Adds the latest one to end; one that is there stays where it is. */
  add(transfer: Packed): void {
    const client = this.#packed.clientOf(transfer);
    let shelf = this.#shelves.get(client);
    if (shelf === undefined) {
      shelf = { transfers: new Fifo(), weight: 0 };
      this.#shelves.set(client, shelf);
    }
    const { size } = shelf.transfers;
    shelf.transfers.add(transfer);
    if (shelf.transfers.size === size) return;
    const weight = this.#packed.weightOf(transfer);
    shelf.weight += weight;
    this.#total.transfers++;
    this.#total.weight += weight;
    this.#forgetOldOf(shelf);
    this.#forgetSurplus();
  }

  /** Forgets what is too old. */
  forgetOld(): void {
    for (const shelf of [...this.#shelves.values()]) this.#forgetOldOf(shelf);
  }

  #forgetOldOf(shelf: Shelf): void {
    const { transfers } = shelf;
    for (let oldest = transfers.first; oldest !== undefined; oldest = transfers.first) {
      if (this.#packed.finishedForMs(oldest) < this.#limits.ms) return;
      this.#forget(oldest, shelf);
    }
  }

  #forgetSurplus(): void {
    const { transfers, segments } = this.#limits;
    while (this.#total.transfers > transfers) {
      this.#forgetFirst((shelf) => shelf.transfers.size);
    }
    while (this.#total.weight > segments) this.#forgetFirst((shelf) => shelf.weight);
  }

  /** The first of the client that has most. Clients are few: see order/lanes.ts. */
  #forgetFirst(amountOf: (shelf: Shelf) => number): void {
    let most: Shelf | undefined;
    for (const shelf of this.#shelves.values()) {
      if (most === undefined || amountOf(shelf) > amountOf(most)) most = shelf;
    }
    const oldest = most?.transfers.first;
    if (most !== undefined && oldest !== undefined) this.#forget(oldest, most);
  }

  #forget(transfer: Packed, shelf: Shelf): void {
    const weight = this.#packed.weightOf(transfer);
    shelf.transfers.delete(transfer);
    shelf.weight -= weight;
    this.#total.transfers--;
    this.#total.weight -= weight;
    if (shelf.transfers.size === 0) this.#shelves.delete(this.#packed.clientOf(transfer));
    this.#onForget(transfer);
  }
}
