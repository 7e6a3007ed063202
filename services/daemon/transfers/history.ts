// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import sortedBtree from 'sorted-btree';
import { deviceNameOf } from '../devices/choice.ts';
import { Fifo } from '../order/fifo.ts';
import { Problem } from '../problems/problem.ts';
import type { TransferListQuery } from './schema.ts';
import { type Transfer, weightOf } from './transfer.ts';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** A page ends before its transfers have more segments than this, which make some 6 MiB of JSON. */
const MAX_PAGE_SEGMENTS = 65_536;

export interface HistoryLimits {
  /** How many finished transfers are kept. */
  transfers: number;
  /** How many segments they may have together, or labels in their place. */
  segments: number;
  /** For how long, in milliseconds. */
  ms: number;
}

export interface Page {
  transfers: Transfer[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/** Finished transfers of one client that may be forgotten. */
interface Shelf {
  /** The first to finish first. */
  readonly transfers: Fifo<Transfer>;
  /** See {@link weightOf}. */
  weight: number;
}

/**
 * The transfers that can be asked for: all that are not over, and the latest of those that are.
 * Where those are too many, the client that has most loses its oldest.
 * Ids are UUIDs of version 7, so their order is that of acceptance.
 */
export class History {
  readonly #limits: HistoryLimits;
  readonly #byId = new BTree<string, Transfer>();
  /** Those that may be forgotten, by client. */
  readonly #shelves = new Map<string, Shelf>();
  readonly #total = { transfers: 0, weight: 0 };
  /** Those that may not, though they are over. */
  readonly #held = new Set<string>();
  readonly #onForget: (transfer: Transfer) => void;

  /** @param onForget is told each transfer that can be asked for no longer */
  constructor(limits: HistoryLimits, onForget: (transfer: Transfer) => void) {
    this.#limits = limits;
    this.#onForget = onForget;
  }

  /** @param hold keep it until {@link release}, though it be over */
  add(transfer: Transfer, hold: boolean): void {
    this.#byId.set(transfer.id, transfer);
    if (hold) this.#held.add(transfer.id);
  }

  get(id: string): Transfer | undefined {
    return this.#byId.get(id);
  }

  /** A transfer is over: from now on it may be forgotten for newer ones. */
  finish(transfer: Transfer): void {
    if (this.#held.has(transfer.id)) return;
    const { client } = transfer.origin;
    let shelf = this.#shelves.get(client);
    if (shelf === undefined) {
      shelf = { transfers: new Fifo(), weight: 0 };
      this.#shelves.set(client, shelf);
    }
    shelf.transfers.add(transfer);
    const weight = weightOf(transfer.plan);
    shelf.weight += weight;
    this.#total.transfers++;
    this.#total.weight += weight;
    this.#forgetOldOf(shelf);
    this.#forgetSurplus();
  }

  /** Ends a hold. */
  release(transfer: Transfer): void {
    if (this.#held.delete(transfer.id) && transfer.over) this.finish(transfer);
  }

  /** Forgets what is too old. */
  forgetOld(): void {
    for (const shelf of [...this.#shelves.values()]) this.#forgetOldOf(shelf);
  }

  #forgetOldOf(shelf: Shelf): void {
    const { transfers } = shelf;
    for (let oldest = transfers.first; oldest; oldest = transfers.first) {
      if (oldest.overForMs < this.#limits.ms) return;
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

  #forget(transfer: Transfer, shelf: Shelf): void {
    const weight = weightOf(transfer.plan);
    shelf.transfers.delete(transfer);
    shelf.weight -= weight;
    this.#total.transfers--;
    this.#total.weight -= weight;
    if (shelf.transfers.size === 0) this.#shelves.delete(transfer.origin.client);
    this.#byId.delete(transfer.id);
    this.#onForget(transfer);
  }

  /**
   * One page of a client's, newest first. It may be shorter than asked for though more follow.
   *
   * @throws Problem invalid_request where the token is not of a page with the same filters
   */
  page(query: TransferListQuery, client: string): Page {
    const filters = filterDigest(query);
    const after = query.page_token ? readToken(query.page_token, filters) : undefined;
    const matches = matcher(query);
    const transfers: Transfer[] = [];
    let segments = 0;
    for (const [, transfer] of this.#byId.entriesReversed(after, undefined, true)) {
      if (transfer.origin.client !== client || !matches(transfer)) continue;
      const last = transfers.at(-1);
      segments += transfer.plan.segments.length;
      if (
        last !== undefined &&
        (transfers.length === query.page_size || segments > MAX_PAGE_SEGMENTS)
      ) {
        return { transfers, nextPageToken: makeToken(last.id, filters) };
      }
      transfers.push(transfer);
    }
    return { transfers, nextPageToken: '' };
  }
}

function matcher({ status, device_name, engine, label }: TransferListQuery) {
  const device = device_name === undefined ? undefined : deviceNameOf(device_name);
  const labels = label?.map((pair): [string, string] => {
    const colon = pair.indexOf(':');
    return [pair.slice(0, colon), pair.slice(colon + 1)];
  });
  return (transfer: Transfer): boolean => {
    const { plan, choice } = transfer;
    if (status !== undefined && transfer.status !== status) return false;
    if (engine !== undefined && choice.engine !== engine) return false;
    if (device !== undefined && plan.source.name !== device && plan.destination.name !== device) {
      return false;
    }
    return labels?.every(([key, value]) => plan.labels[key] === value) ?? true;
  };
}

/** Page tokens are good only for the filters they were made with (AIP-158). */
function filterDigest({ status, device_name, engine, label }: TransferListQuery): string {
  return createHash('sha256')
    .update(JSON.stringify([status, device_name, engine, label]))
    .digest('base64url')
    .slice(0, 12);
}

function makeToken(id: string, filters: string): string {
  return Buffer.from(`${filters}.${id}`).toString('base64url');
}

function readToken(token: string, filters: string): string {
  const [, given, id] =
    /^([\w-]{12})\.([0-9a-f-]{36})$/.exec(Buffer.from(token, 'base64url').toString('latin1')) ?? [];
  if (id === undefined || given !== filters) {
    const detail = 'is not the next_page_token of a page with the same filters: begin without it';
    throw new Problem('invalid_request', `The query is not valid: page_token ${detail}.`, {
      errors: [{ pointer: '/page_token', detail }],
    });
  }
  return id;
}
