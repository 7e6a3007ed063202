// SPDX-License-Identifier: Apache-2.0
import { setImmediate as turn } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import { DAMAGED, type OpenedJournal } from '../journal/open.ts';
import type { Row, StoredRows } from '../journal/stored-rows.ts';
import type { EarlierTransfers } from './earlier.ts';
import { readRecords, Shared } from './record.ts';
import { type Recovered, type RecoveryOptions, recover, recoverPast } from './recovery.ts';
import { idOf, isLeftOver, isUnfinished } from './rows.ts';

/** Transfers that are read at a time. */
const SLICE = 200;

/** Work of an earlier daemon that has not finished. */
export interface PlacedWork {
  /** As of transfers: in the order of acceptance. */
  id: string;
  /** Gives it its place in the order; it waits there for {@link EarlierWork.settle}. */
  place(): void;
}

/** Work beside transfers that the journal keeps. */
export interface EarlierWork {
  /** Reads what clients must find when they are let in. @param rows whose keys are at hand yet @returns what is not over */
  read(rows: StoredRows): Promise<PlacedWork[]>;
  /** Reads the rest. @param rows some of all, in the order of their keys */
  readHistory(rows: readonly Row[]): void;
  /** There are no more, or they cannot be read. */
  historyKnown(): void;
  /** @param doubt why what is not over must not go on after all; undefined if it may */
  settle(doubt: string | undefined): void;
}

/**
 * Restores what the journal says of earlier daemons: first, and before any request is answered, the
 * transfers that were unfinished; then the history, which may be long, a little at a time.
 */
export class Restore {
  readonly #transfers: EarlierTransfers;
  readonly #opened: OpenedJournal;
  readonly #options: Omit<RecoveryOptions, 'doubt' | 'writer'>;
  readonly #log: FastifyBaseLogger;
  readonly #others: EarlierWork | undefined;
  readonly #abort = new AbortController();
  readonly #unfinished: ReadonlySet<string>;
  readonly #leftOver: ReadonlySet<string>;
  /** The greatest id of an earlier daemon: those of this one are greater. */
  #lastId: string | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(
    transfers: EarlierTransfers,
    opened: OpenedJournal,
    options: Omit<RecoveryOptions, 'doubt' | 'writer'>,
    log: FastifyBaseLogger,
    others?: EarlierWork,
  ) {
    this.#transfers = transfers;
    this.#opened = opened;
    this.#options = options;
    this.#log = log;
    this.#others = others;
    const { unfinished, leftOver } = sortOut(opened.rows.keys);
    this.#unfinished = unfinished;
    this.#leftOver = leftOver;
  }

  /** @returns once what becomes of the unfinished transfers is in the journal */
  async unfinished(): Promise<void> {
    const { journal, rows, doubt, writer } = this.#opened;
    if (this.#leftOver.size > 0) journal.remove(this.#leftOver);
    const keys = rows.keys.filter((key) => this.#unfinished.has(idOf(key) ?? ''));
    const left: Recovered[] = [];
    for (let at = 0; at < keys.length; ) {
      // A transfer's rows are read together.
      let end = Math.min(at + SLICE, keys.length);
      while (end < keys.length && idOf(keys[end]) === idOf(keys[end - 1])) end++;
      const records = readRecords(await rows.get(keys.slice(at, end)), (key) => this.#skip(key));
      left.push(...records.map((record) => recover(record, { ...this.#options, doubt, writer })));
      at = end;
      await turn();
    }
    const count = (kind: Recovered['kind']) => left.filter((one) => one.kind === kind).length;
    if (left.length > 0) {
      this.#log.info(
        { again: count('again'), interrupted: count('interrupted') },
        'journal: an earlier daemon left transfers unfinished',
      );
    }
    this.#lastId = idOf(rows.keys.findLast((key) => idOf(key) !== undefined));
    const others = await this.#others?.read(rows);
    rows.forgetKeys();
    await this.#transfers.restore(left, this.#lastId, others);
    // Damage that shows later is settled later.
    if (doubt !== undefined) this.#others?.settle(doubt);
  }

  /** Goes on with all others, and then lets run again what may. */
  readHistory(): void {
    this.#reading = this.#readHistory().catch((error) => {
      this.#log.error({ err: error }, 'journal: the history cannot be read');
      this.#settle('the journal could not be read');
    });
  }

  /** Ends it early. @returns once it reads no more */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }

  async #readHistory(): Promise<void> {
    const { journal, rows, doubt } = this.#opened;
    const shared = new Shared();
    let over = 0;
    let held: [string, string][] = [];
    const take = (batch: [string, string][]) => {
      const records = readRecords(batch, (key) => this.#skip(key));
      over += records.length;
      const { clock } = this.#options;
      this.#transfers.add(records.map((record) => recoverPast(record, clock, shared)));
    };
    for await (const slice of rows.slices(this.#abort.signal)) {
      this.#others?.readHistory(slice);
      const all = [...held, ...slice.filter(([key]) => this.#isHistory(key))];
      // The last transfer's rows may go on in the next slice.
      const last = idOf(all.at(-1)?.[0]);
      const cut = all.findIndex(([key]) => idOf(key) === last);
      take(all.slice(0, Math.max(cut, 0)));
      held = all.slice(Math.max(cut, 0));
      await turn();
    }
    take(held);
    if (this.#abort.signal.aborted) return;
    if (rows.damage !== undefined && doubt === undefined) {
      this.#log.error({ damage: rows.damage }, 'journal: damaged; what is intact in it is used');
    }
    this.#settle(rows.damage === undefined ? undefined : DAMAGED);
    journal.trust();
    this.#log.info({ over }, 'journal: all transfers of earlier daemons are known');
  }

  #settle(doubt: string | undefined): void {
    this.#transfers.settle(doubt);
    this.#others?.historyKnown();
    this.#others?.settle(doubt);
  }

  #isHistory(key: string): boolean {
    const id = idOf(key);
    // Rows that this daemon has written meanwhile come along.
    if (id === undefined || id > (this.#lastId ?? '')) return false;
    return !this.#unfinished.has(id) && !this.#leftOver.has(key);
  }

  #skip(key: string): void {
    this.#log.error({ key }, 'journal: a row says nothing that this version can show anybody');
  }
}

/**
 * @returns the ids of transfers that have no end, or a row that this version does not know; and the keys
 *   of rows that nothing else belongs to
 */
function sortOut(keys: readonly string[]): { unfinished: Set<string>; leftOver: Set<string> } {
  const unfinished = new Set<string>();
  const leftOver = new Set<string>();
  for (let at = 0; at < keys.length; ) {
    const id = idOf(keys[at]);
    const first = at++;
    if (id === undefined) continue;
    while (at < keys.length && keys[at]?.startsWith(id)) at++;
    const own = keys.slice(first, at);
    if (isLeftOver(own)) for (const key of own) leftOver.add(key);
    else if (isUnfinished(own)) unfinished.add(id);
  }
  return { unfinished, leftOver };
}
