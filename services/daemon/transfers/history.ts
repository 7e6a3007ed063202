// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import sortedBtree from 'sorted-btree';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { Problem } from '../../http/problems/problem.ts';
import { transferFilter } from './filter.ts';
import { Finished, type FinishedLimits } from './finished.ts';
import { STATUSES, type Status, type TransferListQuery } from './schema.ts';
import type { Transfer } from './transfer.ts';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** A page ends before its transfers have more segments than this, which make some 6 MiB of JSON. */
const MAX_PAGE_SEGMENTS = 65_536;

/** How many transfers a list looks at in one turn of the event loop: some 1 ms. */
const SLICE = 1000;

/**
 * What is kept of those that are finished: of those whose clients have their ends, and of those
 * whose clients had a 202 and may come back for it. They are apart so that no number of the former
 * pushes out the latter.
 */
export type HistoryLimits = Record<'answered' | 'accepted202', FinishedLimits>;

export interface Page {
  transfers: Transfer[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/**
 * The transfers that can be asked for: all that are not finished, and the latest of those that are.
 */
export class History {
  readonly #byId = new Map<string, Transfer>();
  readonly #byClient = new Map<string, TransferIndex>();
  /** For those who see all. */
  readonly #everybody = new TransferIndex();
  readonly #answered: Finished;
  readonly #accepted202: Finished;
  /** Those that are not to be forgotten, though they are finished. */
  readonly #held = new Set<string>();
  /** Resolves once no other list has anything to do in this turn of the event loop. */
  #turn: Promise<void> = Promise.resolve();

  /** @param onForget receives each transfer that can be asked for no longer */
  constructor(limits: HistoryLimits, onForget: (transfer: Transfer) => void) {
    const forget = (transfer: Transfer) => {
      this.#byId.delete(transfer.id);
      const { client } = transfer.origin;
      const index = this.#byClient.get(client);
      if (index?.delete(transfer) === 0) this.#byClient.delete(client);
      this.#everybody.delete(transfer);
      onForget(transfer);
    };
    this.#answered = new Finished(limits.answered, forget);
    this.#accepted202 = new Finished(limits.accepted202, forget);
  }

  /** @param hold keep it until {@link release}, even if it is finished */
  add(transfer: Transfer, hold: boolean): void {
    const { client } = transfer.origin;
    this.#byId.set(transfer.id, transfer);
    let index = this.#byClient.get(client);
    if (index === undefined) {
      index = new TransferIndex();
      this.#byClient.set(client, index);
    }
    index.add(transfer);
    this.#everybody.add(transfer);
    if (hold) this.#held.add(transfer.id);
  }

  get(id: string): Transfer | undefined {
    return this.#byId.get(id);
  }

  /** A transfer is finished: from now on it may be forgotten for newer ones. */
  finish(transfer: Transfer): void {
    this.#byClient.get(transfer.origin.client)?.finish(transfer);
    this.#everybody.finish(transfer);
    if (this.#held.has(transfer.id)) return;
    (transfer.promised ? this.#accepted202 : this.#answered).add(transfer);
  }

  /** Ends a hold. */
  release(transfer: Transfer): void {
    if (this.#held.delete(transfer.id) && transfer.over) this.finish(transfer);
  }

  /** Forgets what is too old. */
  forgetOld(): void {
    this.#answered.forgetOld();
    this.#accepted202.forgetOld();
  }

  /**
   * Transfers that a client sees and that are not finished, in the order of their acceptance.
   *
   * @param after the id of the last one of those before; empty: from the first
   */
  unfinished(viewer: Viewer, after: string, count: number): Transfer[] {
    const transfers: Transfer[] = [];
    for (const [id, transfer] of this.#indexOf(viewer)?.unfinished.entries(after) ?? []) {
      if (id === after) continue;
      if (transfers.push(transfer) === count) break;
    }
    return transfers;
  }

  #indexOf(viewer: Viewer): TransferIndex | undefined {
    return seesAllTransfers(viewer) ? this.#everybody : this.#byClient.get(viewer.name);
  }

  /**
   * One page of what a client sees, newest first. It may be shorter than asked for though more follow.
   * However many it has to look at, other work goes on meanwhile.
   *
   * @param unwanted whether nobody waits for the page any more
   * @throws Problem invalid_request if the token is not of a page with the same filters
   */
  async page(
    query: TransferListQuery,
    viewer: Viewer,
    unwanted: () => boolean = () => false,
  ): Promise<Page> {
    const filters = filterDigest(query);
    let after = query.page_token ? readToken(query.page_token, filters) : undefined;
    const matches = transferFilter(query);
    const transfers: Transfer[] = [];
    let segments = 0;
    for (;;) {
      const tree = this.#indexOf(viewer)?.superset(query.status);
      let seen = 0;
      for (const [id, transfer] of tree?.entriesReversed(after, undefined, true) ?? []) {
        after = id;
        if (matches(transfer)) {
          if (query.view === 'full') segments += transfer.plan.segments.length;
          const last = transfers.at(-1);
          const full = transfers.length === query.page_size || segments > MAX_PAGE_SEGMENTS;
          if (last !== undefined && full) {
            return { transfers, nextPageToken: makeToken(last.id, filters) };
          }
          transfers.push(transfer);
        }
        if (++seen === SLICE) break;
      }
      if (seen < SLICE || unwanted()) return { transfers, nextPageToken: '' };
      this.#turn = this.#turn.then(() => nextTurn());
      await this.#turn;
    }
  }
}

/** By id: UUIDs of version 7, so their order is that of acceptance. */
type Tree = InstanceType<typeof BTree<string, Transfer>>;

const newTree = (): Tree => new BTree<string, Transfer>(undefined, compareIds);

/**
 * The transfers of one client, so that a list walks nobody else's, or of all; and apart from all
 * that succeeded what is looked for most, and is rare beside it.
 */
class TransferIndex {
  readonly #all = newTree();
  readonly unfinished = newTree();
  readonly #unsuccessful = newTree();

  add(transfer: Transfer): void {
    this.#all.set(transfer.id, transfer);
    this.unfinished.set(transfer.id, transfer);
  }

  finish(transfer: Transfer): void {
    this.unfinished.delete(transfer.id);
    if (transfer.status !== 'succeeded') this.#unsuccessful.set(transfer.id, transfer);
  }

  /** @returns how many are left */
  delete({ id }: Transfer): number {
    for (const tree of [this.#all, this.unfinished, this.#unsuccessful]) tree.delete(id);
    return this.#all.size;
  }

  /** All that have that status are in it. */
  superset(statuses: readonly Status[] | undefined): Tree {
    const trees = new Set((statuses ?? STATUSES).map((status) => this.#treeOf(status)));
    const [only = this.#all] = trees;
    return trees.size === 1 ? only : this.#all;
  }

  #treeOf(status: Status): Tree {
    if (status === 'succeeded') return this.#all;
    return status === 'queued' || status === 'running' ? this.unfinished : this.#unsuccessful;
  }
}

/** The tree's own comparison is for keys of any kind. */
function compareIds(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Page tokens are good only for the filters they were made with (AIP-158). */
function filterDigest(query: TransferListQuery): string {
  const { status, operation, device_name, engine, label } = query;
  const { created_after, created_before } = query;
  const filters = [status, operation, device_name, engine, label, created_after, created_before];
  return createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 12);
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
