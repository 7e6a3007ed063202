// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { OutcomeUnknown, type Problem } from '../../http/problems/problem.ts';
import { BATCH_KEY, batchRow } from './batch-row.ts';
import { diskProblem } from './disk-problem.ts';
import type { Mark } from './doubt.ts';
import {
  type Acceptance,
  absent,
  type Entry,
  giveUpFacts,
  isUrgent,
  refuseAcceptances,
  rowsOf,
} from './entries.ts';
import { FORMAT, FORMAT_KEY } from './format.ts';
import type { Rows, Store } from './store.ts';
import type { CommitMark } from './watermark.ts';

/** How long notes may wait to be written together with other rows, in milliseconds. */
const LAZY_MS = 1000;
/** How long after a failed write the disk is tried again, in milliseconds. */
const RETRY_MS = 1000;

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
  watermark: CommitMark;
  /** The greatest number that a batch on disk has. */
  batch: number;
  /** Whether the rows on disk are in doubt: the mark then stays until {@link Journal.trust}. */
  doubted: boolean;
  log: FastifyBaseLogger;
  observer: JournalObserver;
}

/** What the journal is doing. */
type State =
  | { is: 'idle' }
  | { is: 'scheduled'; timer: NodeJS.Timeout }
  | { is: 'writing'; done: Promise<void> };

/**
 * Rows that outlive the daemon: one queue, of which all that is in it goes to the disk as one
 * batch. If a batch fails, the store is opened anew, time and again, until it can be written;
 * meanwhile nothing is accepted.
 *
 * **What was refused never counts, what was accepted always does.** A disk that reports an error may
 * have written all, a part, or nothing, and may not take a correction afterwards. So acceptances
 * take two steps. (1) Their rows go to the store in one atomic, synced batch, together with a row
 * `batch` that has the batch's number and their keys. (2) That number is written and synced into a
 * file of its own, the watermark. When the journal is opened, the keys that `batch` names do not
 * count if its number is above the watermark. Each point of failure:
 *
 * - In or after (1), before (2) was begun: refused. The watermark is below the number and rises above
 *   it only after a later batch succeeded, which takes those rows away, for what a failed batch
 *   leaves to do is part of every batch until one succeeds. Until then the `batch` row on disk is
 *   that of the failed batch or of a later one that also failed, which has taken the rows away:
 *   either way they do not count.
 * - In or after (2): the watermark may or may not have risen, so it is neither accepted nor refused.
 *   It stays undecided, and keeps its place in the order, until the watermark is on disk; then it
 *   is accepted. Its client gets no answer if that takes long. If the daemon ends before, its next
 *   start decides by what it finds; nothing accepted later has touched the same bytes.
 * - After (2): accepted.
 *
 * Every synced batch has a number, also one without acceptances, whose (2) is not synced: if a log
 * lost its end in a crash, the number tells whether a synced batch was lost with it.
 *
 * A failed write leaves LevelDB's log with a torn tail, behind which it would not find what it wrote:
 * hence the reopening. Opening also rewrites what was read only from the kernel's cache.
 */
export class Journal {
  readonly #store: Store;
  readonly #mark: Mark;
  readonly #watermark: CommitMark;
  readonly #log: FastifyBaseLogger;
  readonly #observer: JournalObserver;
  #queue: Entry[] = [];
  /** Their rows are on disk; whether the watermark is, is not known. */
  #undecided: Acceptance[] = [];
  #state: State = { is: 'idle' };
  #batch: number;
  #trouble: Problem | undefined;
  #doubted: boolean;
  /** Whether the mark could not be made either, which is logged once. */
  #unmarked = false;
  /** Whether facts may wait for a disk that cannot be written. */
  #patient = true;
  #closed = false;

  constructor({ store, mark, watermark, batch, doubted, log, observer }: JournalOptions) {
    this.#store = store;
    this.#mark = mark;
    this.#watermark = watermark;
    this.#batch = Math.max(batch, watermark.value ?? 0);
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
   * Writes rows that were not there before.
   *
   * @param undecided is called if the disk fails so late that it cannot be known whether they count
   * @returns once they outlive a power failure
   * @throws Problem storage_full or journal_unavailable; then they never count
   */
  accept(rows: Rows, undecided: (problem: Problem) => void): Promise<void> {
    if (this.#trouble !== undefined) return Promise.reject(this.#trouble);
    return new Promise((accepted, refused) => {
      this.#queue.push({ kind: 'acceptance', rows, accepted, refused, undecided });
      this.#writeNow();
    });
  }

  /**
   * The same for a client that waits for its answer, which must not take as long as the disk may.
   *
   * @param apply does what the rows say: once they count, be that after this has rejected
   * @throws Problem as {@link accept}; OutcomeUnknown if it is not decided in time
   */
  acceptThen(rows: Rows, apply: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const undecided = ({ message }: Problem) => reject(new OutcomeUnknown(message));
      this.accept(rows, undecided).then(apply).then(resolve, reject);
    });
  }

  /**
   * Writes rows of what has happened already, and tries until they are there.
   *
   * @returns once they outlive a power failure, or it is marked on disk that they are missing: true;
   *   false if neither can be and the daemon ends
   */
  async record(rows: Rows): Promise<boolean> {
    if (this.#trouble !== undefined && (this.#mark.set || !this.#patient)) {
      this.writeSoon(rows);
      return this.#mark.set || this.#makeMark();
    }
    return new Promise((done) => {
      this.#queue.push({ kind: 'fact', rows, done });
      this.#writeNow();
    });
  }

  /**
   * Records what becomes of an earlier daemon's work, and which version writes from now on: both or
   * none.
   *
   * @returns as {@link record}
   */
  takeOver(rows: Rows): Promise<boolean> {
    return this.record(new Map([...rows, [FORMAT_KEY, FORMAT]]));
  }

  /** Writes rows soon; a crash may lose them. */
  writeSoon(rows: Rows): void {
    this.#queue.push({ kind: 'note', rows });
    this.#writeLater(LAZY_MS);
  }

  /** Takes rows away soon. */
  remove(keys: Iterable<string>): void {
    this.writeSoon(absent(keys));
  }

  /** What was unfinished at the start has been dealt with: the mark may go once all is written. */
  trust(): void {
    this.#doubted = false;
    this.writeSoon(new Map([[FORMAT_KEY, FORMAT]]));
  }

  /** The daemon ends: from now on nothing waits for a disk that cannot be written. */
  stopWaiting(): void {
    this.#patient = false;
    if (this.#trouble === undefined) return;
    this.#reportUndecided(this.#trouble);
    this.#giveUpFacts(this.#mark.set);
  }

  /** Writes what is left, as far as the disk takes it, and closes. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#state.is === 'scheduled') clearTimeout(this.#state.timer);
    if (this.#state.is === 'writing') await this.#state.done;
    if (this.#queue.length > 0) await this.#writeBatch();
    const rows = this.#queue.reduce((sum, entry) => sum + entry.rows.size, 0);
    if (rows > 0) this.#log.error(`journal: ${rows} rows were not written`);
    this.#giveUpFacts(this.#mark.set);
    await this.#store.close();
    await this.#watermark.close();
    await this.#mark.close();
  }

  /** Writes at the end of this tick, with all that it brings. A disk in trouble is tried again later. */
  #writeNow(): void {
    if (this.#trouble !== undefined || this.#state.is === 'writing') return;
    if (this.#state.is === 'scheduled') clearTimeout(this.#state.timer);
    this.#state = {
      is: 'writing',
      done: new Promise((resolve) => {
        setImmediate(() => resolve(this.#write()));
      }),
    };
  }

  #writeLater(ms: number): void {
    if (this.#closed || this.#state.is !== 'idle') return;
    const timer = setTimeout(() => {
      this.#state = { is: 'writing', done: this.#write() };
    }, ms);
    this.#state = { is: 'scheduled', timer: timer.unref() };
  }

  async #write(): Promise<void> {
    let written = await this.#writeBatch();
    while (written && this.#queue.some(isUrgent)) written = await this.#writeBatch();
    this.#state = { is: 'idle' };
    if (!written) this.#writeLater(RETRY_MS);
    else if (this.#queue.length > 0) this.#writeLater(LAZY_MS);
  }

  /** Writes one batch of all there is. @returns whether it could */
  async #writeBatch(): Promise<boolean> {
    const entries = this.#queue;
    this.#queue = [];
    const inTrouble = this.#trouble !== undefined;
    const acceptances = entries.filter((entry) => entry.kind === 'acceptance');
    const rows = rowsOf(entries);
    if (inTrouble) rows.set(FORMAT_KEY, FORMAT);
    const sync = inTrouble || entries.some(isUrgent);
    if (sync) {
      this.#batch++;
      rows.set(BATCH_KEY, batchRow(this.#batch, [...this.#undecided, ...acceptances]));
    }
    const began = performance.now();
    try {
      if (inTrouble) await this.#store.reopen();
      await this.#store.write(rows, sync);
    } catch (error) {
      await this.#failed(error, entries);
      return false;
    }
    for (const entry of entries) if (entry.kind === 'fact') entry.done(true);
    this.#undecided.push(...acceptances);
    if (sync && !(await this.#commit())) return false;
    if (sync) this.#observer.synced((performance.now() - began) / 1000);
    if (inTrouble) this.#log.info('journal: it can be written again');
    this.#trouble = undefined;
    // What came meanwhile may rely on the mark.
    if (!this.#mark.clean && !this.#doubted && this.#queue.length === 0) await this.#clearMark();
    return true;
  }

  /**
   * Has all acceptances count whose rows are on disk. Without any, the number only tells later that
   * no synced batch is missing; then it may go unsynced.
   *
   * @returns whether they do
   */
  async #commit(): Promise<boolean> {
    try {
      await this.#watermark.write(this.#batch, this.#undecided.length > 0);
    } catch (error) {
      await this.#failed(error, []);
      return false;
    }
    for (const { accepted } of this.#undecided.splice(0)) accepted();
    return true;
  }

  /** @param entries of a batch that may be on disk all the same, in whole or in part */
  async #failed(error: unknown, entries: Entry[]): Promise<void> {
    const problem = diskProblem(error);
    if (this.#trouble === undefined) this.#log.error({ err: error }, 'journal: cannot be written');
    if (this.#trouble !== undefined || !this.#patient) this.#reportUndecided(problem);
    this.#trouble = problem;
    this.#observer.failed();
    this.#queue = refuseAcceptances([...entries, ...this.#queue], problem);
    if (!this.#queue.some(({ kind }) => kind === 'fact')) return;
    const marked = await this.#makeMark();
    if (marked || !this.#patient) this.#giveUpFacts(marked);
  }

  #reportUndecided(problem: Problem): void {
    for (const { undecided } of this.#undecided) undecided(problem);
  }

  #giveUpFacts(kept: boolean): void {
    this.#queue = giveUpFacts(this.#queue, kept);
  }

  /** @returns whether it is marked on disk that rows are missing */
  async #makeMark(): Promise<boolean> {
    try {
      await this.#mark.make();
      this.#unmarked = false;
      return true;
    } catch (error) {
      if (!this.#unmarked) {
        this.#log.error({ err: error }, 'journal: journal.trust could not be written either');
      }
      this.#unmarked = true;
      return false;
    }
  }

  async #clearMark(): Promise<void> {
    try {
      await this.#mark.clear();
    } catch (error) {
      // It may be there or not; it is tried again after the next batch.
      this.#log.warn({ err: error }, 'journal: journal.trust could not be cleared');
    }
  }
}
