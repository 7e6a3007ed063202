// SPDX-License-Identifier: Apache-2.0
import type { Journal } from '../journal/journal.ts';
import {
  acceptedRows,
  changedRows,
  dependencyRows,
  endedRows,
  keysOf,
  type RowsOf,
} from './rows.ts';
import type { Outcome, Transfer } from './transfer.ts';

const BATCH_MS = 1000;
/** Some 20 µs each, and 1 µs each of their segments. */
const BATCH = { transfers: 500, segments: 16_384 };

/**
 * Keeps in the journal what did not have to be there before its answer: transfers that ended while
 * their clients waited. They cost their clients nothing; a crash loses the last of them.
 */
export class Archive {
  readonly #journal: Journal;
  readonly #find: (id: string) => Transfer | undefined;
  /** Ids of those that are to be written. */
  readonly #waiting = new Set<string>();
  /** Keys of rows that this version does not understand, by the transfer's id. */
  readonly #foreign = new Map<string, readonly string[]>();
  readonly #timer: NodeJS.Timeout;
  /** Since the last batch was due. */
  #added = 0;

  /** @param find gives a transfer that has not been forgotten */
  constructor(journal: Journal, find: (id: string) => Transfer | undefined) {
    this.#journal = journal;
    this.#find = find;
    this.#timer = setInterval(() => {
      // Of a flood, what could be kept would be forgotten again for what comes behind it.
      const flood = this.#added > BATCH.transfers;
      this.#added = 0;
      if (!flood && journal.trouble === undefined) this.#write(BATCH);
    }, BATCH_MS).unref();
  }

  /** Keeps a transfer that has finished. */
  add(id: string): void {
    this.#waiting.add(id);
    this.#added++;
  }

  /** A transfer has these rows too, which go when it is forgotten. */
  alsoRemove(transfer: Transfer, foreign: readonly string[]): void {
    if (foreign.length > 0) this.#foreign.set(transfer.id, foreign);
  }

  /** Forgets a transfer, kept by this or otherwise. */
  remove(rows: RowsOf): void {
    if (this.#waiting.delete(rows.id)) return;
    this.#journal.remove([...keysOf(rows), ...(this.#foreign.get(rows.id) ?? [])]);
    this.#foreign.delete(rows.id);
  }

  /** Hands the rest to the journal. */
  close(): void {
    clearInterval(this.#timer);
    this.#write({ transfers: Number.POSITIVE_INFINITY, segments: Number.POSITIVE_INFINITY });
  }

  #write(most: typeof BATCH): void {
    let { transfers, segments } = most;
    for (const id of this.#waiting) {
      if (transfers <= 0 || segments <= 0) return;
      this.#waiting.delete(id);
      const transfer = this.#find(id);
      if (transfer === undefined) continue;
      transfers--;
      segments -= transfer.plan.segments.length;
      this.#journal.writeSoon(
        new Map([
          ...acceptedRows(transfer),
          ...dependencyRows(transfer, []),
          ...(transfer.change === undefined ? [] : changedRows(transfer, transfer.change)),
          ...endedRows(transfer, transfer.end as Outcome),
        ]),
      );
    }
  }
}
