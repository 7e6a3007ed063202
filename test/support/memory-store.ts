// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { pino } from 'pino';
import { readBatch } from '../../services/daemon/journal/batch-row.ts';
import { Journal } from '../../services/daemon/journal/journal.ts';
import type { Rows, Store } from '../../services/daemon/journal/store.ts';

/** A disk in memory that fails when a test wants it to. */
export class MemoryStore implements Store {
  /** What a crash leaves. */
  readonly rows: Map<string, string>;
  readonly batches: { rows: Rows; sync: boolean }[] = [];
  /** What every write fails with. */
  failure: Error | undefined;
  /** A write that fails leaves its rows all the same. */
  leavesRows = false;
  reopened = 0;
  closed = false;
  #gate: Promise<void> | undefined;
  #open = () => {};

  constructor(rows: Iterable<[string, string]> = []) {
    this.rows = new Map(rows);
  }

  /** Writes wait from now on. @returns what lets them through */
  hold(): () => void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
    return () => {
      this.#gate = undefined;
      this.#open();
    };
  }

  /** The rows as they come from a disk. */
  sorted(): [string, string][] {
    return [...this.rows].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  async write(rows: Rows, sync: boolean): Promise<void> {
    await this.#gate;
    if (this.failure === undefined || this.leavesRows) {
      for (const [key, value] of rows) {
        if (value === undefined) this.rows.delete(key);
        else this.rows.set(key, value);
      }
    }
    if (this.failure !== undefined) throw this.failure;
    this.batches.push({ rows: new Map(rows), sync });
  }

  async reopen(): Promise<void> {
    this.reopened++;
    if (this.failure !== undefined) throw this.failure;
  }

  async size(): Promise<number> {
    return [...this.rows].join('').length;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

/** The mark beside a journal, in memory. */
export class MemoryMark {
  says: 'trusted' | 'doubted' | 'unknown' = 'trusted';
  failure: Error | undefined;

  get set(): boolean {
    return this.says === 'doubted';
  }

  get clean(): boolean {
    return this.says === 'trusted';
  }

  async make(): Promise<void> {
    if (!this.set) this.#write('doubted');
  }

  async clear(): Promise<void> {
    if (!this.clean) this.#write('trusted');
  }

  #write(says: 'trusted' | 'doubted'): void {
    this.says = 'unknown';
    if (this.failure !== undefined) throw this.failure;
    this.says = says;
  }

  async close(): Promise<void> {}
}

/** The number of the last batch that counts, in memory. */
export class MemoryWatermark {
  value: number | undefined = 0;
  failure: Error | undefined;
  /** A write that fails leaves its number all the same. */
  leavesNumber = false;

  async write(value: number, _sync?: boolean): Promise<void> {
    if (this.failure === undefined || this.leavesNumber) this.value = value;
    if (this.failure !== undefined) throw this.failure;
  }

  async close(): Promise<void> {}
}

export const FULL = new Error('IO error: /state/journal/000005.log: No space left on device');

/** A journal over a disk in memory. */
export function memoryJournal(
  store = new MemoryStore(),
  mark = new MemoryMark(),
  log: FastifyBaseLogger = pino({ level: 'silent' }),
  doubted = false,
  watermark = new MemoryWatermark(),
) {
  const counted = { synced: 0, failed: 0 };
  const journal = new Journal({
    ...{
      store,
      mark,
      watermark,
      batch: readBatch(store.rows, watermark.value).number,
      log,
      doubted,
    },
    observer: {
      synced: () => {
        counted.synced++;
      },
      failed: () => {
        counted.failed++;
      },
    },
  });
  return { journal, store, mark, watermark, counted };
}
