// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { type Problem, retryLater } from '../problems/problem.ts';
import type { Mark } from './doubt.ts';
import { causeOf, type Rows, type Store } from './store.ts';

/** How long what is in no hurry may wait for company, in milliseconds. */
const LAZY_MS = 1000;
/** How long to leave a disk alone that could not be written, in milliseconds. */
const RETRY_MS = 1000;
const RETRY_AFTER_SECONDS = 5;
/** The layout of the rows; a version that cannot read it must not touch it. */
export const FORMAT_KEY = 'format';
export const FORMAT = '1';

/** Hears of what is worth counting. */
export interface JournalObserver {
  /** A batch is on disk, synced. */
  synced(seconds: number): void;
  /** A batch could not be written. */
  failed(): void;
}

export interface JournalOptions {
  store: Store;
  mark: Mark;
  /** Keys of the rows that are on disk. */
  keys: Iterable<string>;
  /** Whether what they say is in doubt: the mark then stays until {@link Journal.trust}. */
  doubted: boolean;
  log: FastifyBaseLogger;
  observer: JournalObserver;
}

interface Waiter {
  rows: Rows;
  resolve(): void;
  reject(problem: Problem): void;
}

/**
 * What outlives the daemon. All rows that arrive in one tick, or while the disk is busy, go into
 * one batch, and share one sync. When a batch fails the store is opened anew, time and again, until
 * there is room; meanwhile nothing is taken that would have to be kept.
 */
export class Journal {
  readonly #store: Store;
  readonly #mark: Mark;
  readonly #log: FastifyBaseLogger;
  readonly #observer: JournalObserver;
  /** Keys of rows that are on disk, or may get there. */
  readonly #present: Set<string>;
  #rows = new Map<string, string | undefined>();
  /** Who is told that it failed. */
  #adding: Waiter[] = [];
  /** Who waits until it has not. */
  #settling: Waiter[] = [];
  #urgent = false;
  #timer: NodeJS.Timeout | undefined;
  #committing: Promise<void> | undefined;
  #trouble: Problem | undefined;
  #patient = true;
  #doubted: boolean;
  #closed = false;

  constructor({ store, mark, keys, doubted, log, observer }: JournalOptions) {
    this.#store = store;
    this.#mark = mark;
    this.#present = new Set(keys);
    this.#doubted = doubted;
    this.#log = log;
    this.#observer = observer;
  }

  /** Why nothing can be written at present. */
  get trouble(): Problem | undefined {
    return this.#trouble;
  }

  /** Bytes on disk. */
  size(): Promise<number> {
    return this.#store.size();
  }

  /**
   * Writes rows that were not there before. @returns once they outlive a power failure
   *
   * @throws Problem storage_full or journal_unavailable; then they are not there, nor will be
   */
  async add(rows: Rows): Promise<void> {
    if (this.#trouble !== undefined) throw this.#trouble;
    await new Promise<void>((resolve, reject) => {
      this.#adding.push({ rows, resolve, reject });
      this.#hurry(rows);
    });
  }

  /**
   * Writes rows of what has happened already, and tries until they are there.
   *
   * @returns once they outlive a power failure, or it is marked on disk that they are missing
   */
  async settle(rows: Rows): Promise<void> {
    if (this.#trouble !== undefined && (this.#mark.set || !this.#patient)) {
      this.#hurry(rows);
      await this.#makeMark();
      return;
    }
    await new Promise<void>((resolve, reject) => {
      this.#settling.push({ rows, resolve, reject });
      this.#hurry(rows);
    });
  }

  /** Writes rows soon; a crash may lose them. */
  keep(rows: Rows): void {
    this.#put(rows);
    this.#later(LAZY_MS);
  }

  /** Takes rows away soon, as far as they are there. */
  remove(keys: Iterable<string>): void {
    for (const key of keys) {
      if (this.#present.delete(key)) this.#rows.set(key, undefined);
    }
    this.#later(LAZY_MS);
  }

  /** What was unfinished at the start has been dealt with: the mark may go, once all is written. */
  trust(): void {
    this.#doubted = false;
    this.keep(new Map([[FORMAT_KEY, FORMAT]]));
  }

  /** The daemon ends: from now on nobody waits for a disk that cannot be written. */
  letGo(): void {
    this.#patient = false;
    if (this.#trouble !== undefined) this.#settled();
  }

  /** Writes what is left, as far as the disk takes it, and closes. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed = true;
    await this.#committing;
    this.#urgent = true;
    if (this.#rows.size > 0) await this.#commit();
    if (this.#rows.size > 0) this.#log.error({ rows: this.#rows.size }, 'journal: not all kept');
    this.#settled();
    await this.#store.close();
    await this.#mark.close();
  }

  #put(rows: Rows): void {
    for (const [key, value] of rows) {
      this.#rows.set(key, value);
      this.#present.add(key);
    }
  }

  #hurry(rows: Rows): void {
    this.#put(rows);
    this.#urgent = true;
    // A disk in trouble is left alone until it is tried again.
    if (this.#trouble === undefined && this.#committing === undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#committing = new Promise((resolve) => {
        // All of this tick go along.
        setImmediate(() => resolve(this.#commitAll()));
      });
    }
  }

  #later(ms: number): void {
    if (this.#closed || this.#timer !== undefined || this.#committing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#committing ??= this.#commitAll();
    }, ms);
    this.#timer.unref();
  }

  async #commitAll(): Promise<void> {
    let written = await this.#commit();
    while (written && this.#urgent) written = await this.#commit();
    this.#committing = undefined;
    if (!written) this.#later(RETRY_MS);
    else if (this.#rows.size > 0) this.#later(LAZY_MS);
  }

  /** Writes one batch of all there is. @returns whether it could */
  async #commit(): Promise<boolean> {
    const again = this.#trouble !== undefined;
    const rows = this.#rows;
    const sync = this.#urgent || again;
    const adding = this.#adding.splice(0);
    const settling = this.#settling.splice(0);
    this.#rows = new Map();
    this.#urgent = false;
    const began = performance.now();
    try {
      if (again) await this.#store.reopen();
      await this.#store.write(again ? new Map(rows).set(FORMAT_KEY, FORMAT) : rows, sync);
    } catch (error) {
      await this.#fail(error, rows, adding, settling);
      return false;
    }
    if (sync) this.#observer.synced((performance.now() - began) / 1000);
    if (again) this.#log.info('journal: it can be written again');
    this.#trouble = undefined;
    for (const { resolve } of [...adding, ...settling]) resolve();
    // What came meanwhile may rely on the mark.
    if (this.#mark.set && !this.#doubted && this.#rows.size === 0) await this.#clearMark();
    return true;
  }

  async #fail(error: unknown, rows: Rows, adding: Waiter[], settling: Waiter[]): Promise<void> {
    const problem = problemOf(error);
    if (this.#trouble === undefined) this.#log.error({ err: error }, 'journal: cannot be written');
    this.#trouble = problem;
    this.#observer.failed();
    for (const [key, value] of rows) {
      if (!this.#rows.has(key)) this.#rows.set(key, value);
    }
    for (const { rows: refused, reject } of [...adding, ...this.#adding.splice(0)]) {
      // They may be on disk all the same, in whole or in part.
      for (const key of refused.keys()) {
        this.#present.delete(key);
        this.#rows.set(key, undefined);
      }
      reject(problem);
    }
    this.#urgent = true;
    this.#settling.unshift(...settling);
    if (this.#settling.length === 0) return;
    if ((await this.#makeMark()) || !this.#patient) this.#settled();
  }

  /** @returns whether it is marked on disk that rows are missing */
  async #makeMark(): Promise<boolean> {
    try {
      await this.#mark.make();
      return true;
    } catch (error) {
      this.#log.error({ err: error }, 'journal: nor can the mark beside it');
      return false;
    }
  }

  #settled(): void {
    for (const { resolve } of this.#settling.splice(0)) resolve();
  }

  async #clearMark(): Promise<void> {
    try {
      await this.#mark.clear();
    } catch (error) {
      // It stays, and is tried again after the next batch.
      this.#log.warn({ err: error }, 'journal: cannot clear the mark beside it');
    }
  }
}

function problemOf(error: unknown): Problem {
  const cause = causeOf(error);
  const full = /No space left|Disk quota exceeded|File too large/.test(cause);
  const what = cause.slice(cause.lastIndexOf(': ') + 1).trim();
  const remedy = full ? 'free some space' : 'see to the disk, or its mount';
  return retryLater(
    full ? 'storage_full' : 'journal_unavailable',
    `The journal in the state directory cannot be written (${what}), and nothing is accepted ` +
      `that has to be kept in it: ${remedy}, then retry.`,
    RETRY_AFTER_SECONDS,
  );
}
