// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import sortedBtree from 'sorted-btree';
import { deviceNameOf } from '../devices/choice.ts';
import { Problem } from '../problems/problem.ts';
import { Finished, type FinishedLimits } from './finished.ts';
import type { TransferListQuery } from './schema.ts';
import type { Transfer } from './transfer.ts';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** A page ends before its transfers have more segments than this, which make some 6 MiB of JSON. */
const MAX_PAGE_SEGMENTS = 65_536;

/** What is kept of those that are over. */
export type HistoryLimits = Record<'told' | 'promised', FinishedLimits>;

export interface Page {
  transfers: Transfer[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/**
 * The transfers that can be asked for: all that are not over, and the latest of those that are.
 * Ids are UUIDs of version 7, so their order is that of acceptance.
 */
export class History {
  readonly #byId = new BTree<string, Transfer>(undefined, compareIds);
  /** Those whose clients have been told how they ended. */
  readonly #told: Finished;
  /** Those whose clients were told that they go on, and may come back for their ends. */
  readonly #promised: Finished;
  /** Those that are not to be forgotten, though they are over. */
  readonly #held = new Set<string>();

  /** @param onForget is told each transfer that can be asked for no longer */
  constructor(limits: HistoryLimits, onForget: (transfer: Transfer) => void) {
    const forget = (transfer: Transfer) => {
      this.#byId.delete(transfer.id);
      onForget(transfer);
    };
    this.#told = new Finished(limits.told, forget);
    this.#promised = new Finished(limits.promised, forget);
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
    (transfer.promised ? this.#promised : this.#told).add(transfer);
  }

  /** Ends a hold. */
  release(transfer: Transfer): void {
    if (this.#held.delete(transfer.id) && transfer.over) this.finish(transfer);
  }

  /** Forgets what is too old. */
  forgetOld(): void {
    this.#told.forgetOld();
    this.#promised.forgetOld();
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

/** The tree's own comparison is for keys of any kind. */
function compareIds(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
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
