// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises';
import sortedBtree from 'sorted-btree';
import { SlotMap } from '../../base/slots.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { makePageToken, readPageToken } from '../../http/page-token.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Dependency } from './dependencies.ts';
import { WorkFilter } from './filter.ts';
import { Finished } from './finished.ts';
import type { TransferListQuery } from './list-schema.ts';
import { type Packed, PackedTransfers } from './packed.ts';
import type { HistoryLimits } from './retention.ts';
import type { RowsOf } from './rows.ts';
import { STATUSES, type Status } from './schema.ts';
import type { Transfer } from './transfer.ts';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** A page ends before its transfers have more segments than this, which make some 6 MiB of JSON. */
const MAX_PAGE_SEGMENTS = 65_536;

/** How many are not in the indexes at most: to put them there takes some 1 ms. */
const MAX_FRESH = 250;

/** How much a list reads in one turn of the event loop, in transfers of the smallest kind: some 1 ms. */
const SLICE = 1000;

export interface Page {
  transfers: Transfer[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/** A transfer that is not finished, or one that is. */
type Entry = Transfer | Packed;

/**
 * The transfers that can be asked for: all that are not finished, and the latest of those that are. The
 * latter are bytes (see packed.ts), of which each that is asked for is made an object anew.
 */
export class History {
  readonly #packed: PackedTransfers;
  /**
   * Those that nobody has looked for since they were added. They are not in any index: most end before anybody
   * does, and four indexes take 4 µs of each.
   */
  readonly #fresh = new SlotMap<string, Transfer>();
  readonly #byClient = new Map<string, TransferIndex>();
  /** For those who see all. */
  readonly #everybody = new TransferIndex();
  readonly #answered: Finished;
  readonly #accepted202: Finished;
  /** Ids of those that are not to be forgotten, though they are finished. */
  readonly #held = new Set<string>();
  /** Resolves once no other list has anything to do in this turn of the event loop. */
  #turn: Promise<void> = Promise.resolve();

  /** @param onForget receives each transfer that can be asked for no longer */
  constructor(limits: HistoryLimits, clock: ElapsedClock, onForget: (rows: RowsOf) => void) {
    this.#packed = new PackedTransfers(clock);
    const forget = (packed: Packed) => {
      const rows = this.#packed.rowsOf(packed);
      const client = this.#packed.clientOf(packed);
      const status = this.#packed.statusOf(packed);
      this.#packed.remove(packed);
      const index = this.#byClient.get(client);
      if (index?.delete(rows.id, status) === 0) this.#byClient.delete(client);
      this.#everybody.delete(rows.id, status);
      onForget(rows);
    };
    this.#answered = new Finished(limits.answered, this.#packed, forget);
    this.#accepted202 = new Finished(limits.accepted202, this.#packed, forget);
  }

  /** @param hold keep it until {@link release}, even if it is finished */
  add(transfer: Transfer, hold: boolean): void {
    if (this.#fresh.size === MAX_FRESH) this.#indexFresh();
    this.#fresh.set(transfer.id, transfer);
    if (hold) this.#held.add(transfer.id);
  }

  /** @returns of one that is finished an object of its own, whatever others there are */
  get(id: string): Transfer | undefined {
    const entry = this.#entryOf(id);
    return entry === undefined ? undefined : this.#transferOf(entry);
  }

  /** What {@link get} would give, without the cost of making the object. */
  dependency(id: string): Dependency | undefined {
    const entry = this.#entryOf(id);
    return typeof entry === 'number' ? this.#packed.dependencyOf(id, entry) : entry;
  }

  /** A function that looks up each transfer once, however many depend on it. */
  dependencyFinder(): (id: string) => Dependency | undefined {
    let found: Map<string, Dependency | undefined> | undefined;
    return (id) => {
      // Most depend on none.
      found ??= new Map();
      if (!found.has(id)) found.set(id, this.dependency(id));
      return found.get(id);
    };
  }

  has(id: string): boolean {
    return this.#entryOf(id) !== undefined;
  }

  #entryOf(id: string): Entry | undefined {
    return this.#fresh.get(id) ?? this.#everybody.get(id);
  }

  /** A transfer is finished, and nothing of it changes any more. It is kept until {@link mayForget}. */
  finish(transfer: Transfer): void {
    const { id, status } = transfer;
    const packed = this.#packed.add(transfer);
    this.#fresh.delete(id);
    this.#indexOfClient(transfer.origin.client).finish(id, status, packed);
    this.#everybody.finish(id, status, packed);
  }

  /** From now on a transfer that is finished may be forgotten for newer ones, unless it is held. */
  mayForget(id: string): void {
    const packed = this.#everybody.get(id);
    if (typeof packed !== 'number' || this.#held.has(id)) return;
    (this.#packed.isAcknowledged(packed) ? this.#accepted202 : this.#answered).add(packed);
  }

  /** Ends a hold. */
  release(id: string): void {
    if (this.#held.delete(id)) this.mayForget(id);
  }

  /** Forgets what is too old. */
  forgetOld(): void {
    this.#answered.forgetOld();
    this.#accepted202.forgetOld();
  }

  #indexFresh(): void {
    for (const transfer of this.#fresh.values()) {
      this.#indexOfClient(transfer.origin.client).add(transfer);
      this.#everybody.add(transfer);
    }
    this.#fresh.clear();
  }

  #indexOfClient(client: string): TransferIndex {
    let index = this.#byClient.get(client);
    if (index === undefined) {
      index = new TransferIndex();
      this.#byClient.set(client, index);
    }
    return index;
  }

  #transferOf(entry: Entry): Transfer {
    return typeof entry === 'number' ? this.#packed.get(entry) : entry;
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
    this.#indexFresh();
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
    const filters = filtersOf(query);
    let after = readPageToken(query.page_token, filters);
    const filter = new WorkFilter(query);
    const transfers: Transfer[] = [];
    let segments = 0;
    for (;;) {
      const tree = this.#indexOf(viewer)?.superset(query.status);
      let seen = 0;
      for (const [id, entry] of tree?.entriesReversed(after, undefined, true) ?? []) {
        after = id;
        if (filter.hasTransfer(typeof entry === 'number' ? this.#packed.subjectOf(entry) : entry)) {
          // Also for view=basic, for they are unpacked then too.
          segments += this.#segmentsOf(entry);
          const last = transfers.at(-1);
          const full = transfers.length === query.page_size || segments > MAX_PAGE_SEGMENTS;
          if (last !== undefined && full) {
            return { transfers, nextPageToken: makePageToken(last.id, filters) };
          }
          transfers.push(this.#transferOf(entry));
        }
        seen += typeof entry === 'number' ? this.#packed.readingCostOf(entry) : 1;
        if (seen >= SLICE) break;
      }
      if (seen < SLICE || unwanted()) return { transfers, nextPageToken: '' };
      this.#turn = this.#turn.then(() => nextTurn());
      await this.#turn;
    }
  }

  #segmentsOf(entry: Entry): number {
    return typeof entry === 'number' ? this.#packed.segmentsOf(entry) : entry.plan.segments.length;
  }
}

/** By id: UUIDs of version 7, so their order is that of acceptance. */
type Tree<Value> = InstanceType<typeof BTree<string, Value>>;

const newTree = <Value>(): Tree<Value> => new BTree<string, Value>(undefined, compareIds);

/**
 * The transfers of one client, so that a list walks nobody else's, or of all; and apart from all
 * that succeeded what is looked for most, and is rare beside it.
 */
class TransferIndex {
  readonly #all = newTree<Entry>();
  readonly unfinished = newTree<Transfer>();
  readonly #unsuccessful = newTree<Packed>();

  add(transfer: Transfer): void {
    this.#all.set(transfer.id, transfer);
    this.unfinished.set(transfer.id, transfer);
  }

  get(id: string): Entry | undefined {
    return this.#all.get(id);
  }

  finish(id: string, status: Status, packed: Packed): void {
    this.#all.set(id, packed);
    this.unfinished.delete(id);
    if (status !== 'succeeded') this.#unsuccessful.set(id, packed);
  }

  /** @param status that it has ended with @returns how many are left */
  delete(id: string, status: Status): number {
    this.#all.delete(id);
    if (status !== 'succeeded') this.#unsuccessful.delete(id);
    return this.#all.size;
  }

  /** All that have that status are in it. */
  superset(statuses: readonly Status[] | undefined): Tree<Entry> {
    const trees = new Set((statuses ?? STATUSES).map((status) => this.#treeOf(status)));
    const [only = this.#all] = trees;
    return trees.size === 1 ? only : this.#all;
  }

  #treeOf(status: Status): Tree<Entry> {
    if (status === 'succeeded') return this.#all;
    return status === 'queued' || status === 'running' ? this.unfinished : this.#unsuccessful;
  }
}

/** The tree's own comparison is for keys of any kind. */
function compareIds(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function filtersOf(query: TransferListQuery): unknown[] {
  const { status, operation, device_name, engine, label } = query;
  return [status, operation, device_name, engine, label, query.created_after, query.created_before];
}
