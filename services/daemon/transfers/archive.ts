// SPDX-License-Identifier: Apache-2.0
import type { Journal } from '../journal/journal.ts';
import { acceptedRows, endedRows, keysOf } from './record.ts';
import type { Transfer } from './transfer.ts';

const BATCH_MS = 1000;
/** Some 10 µs each: a flood of small transfers leaves the rest for the end, or forgets them first. */
const BATCH_SIZE = 500;

/**
 * Keeps in the journal what did not have to be there before its answer: transfers that ended while
 * their clients waited. They cost their clients nothing; a crash loses the last of them.
 */
export class Archive {
  readonly #journal: Journal;
  readonly #waiting = new Set<Transfer>();
  readonly #timer: NodeJS.Timeout;

  constructor(journal: Journal) {
    this.#journal = journal;
    this.#timer = setInterval(() => {
      if (journal.trouble === undefined) this.#write(BATCH_SIZE);
    }, BATCH_MS).unref();
  }

  /** Keeps a transfer that is over. */
  add(transfer: Transfer): void {
    this.#waiting.add(transfer);
  }

  /** Forgets a transfer, kept by this or otherwise. */
  remove(transfer: Transfer): void {
    if (!this.#waiting.delete(transfer)) this.#journal.remove(keysOf(transfer));
  }

  /** Hands the rest to the journal. */
  close(): void {
    clearInterval(this.#timer);
    this.#write(Number.POSITIVE_INFINITY);
  }

  #write(most: number): void {
    let left = most;
    for (const transfer of this.#waiting) {
      if (left-- <= 0 || transfer.end === undefined) return;
      this.#waiting.delete(transfer);
      this.#journal.keep(
        new Map([...acceptedRows(transfer, false), ...endedRows(transfer, transfer.end)]),
      );
    }
  }
}
