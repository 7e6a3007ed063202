// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { Written } from '../devices/written.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Row, StoredRows } from '../journal/stored-rows.ts';
import { EarlierReplications } from './earlier.ts';
import { EarlyWrites } from './early-writes.ts';
import type { OverwrittenRows } from './overwritten-rows.ts';
import type { EarlierReplication } from './read-rows.ts';
import type { Replication } from './replication.ts';
import type { ReplicationStore } from './store.ts';

/** Puts the replications of earlier daemons into the store: first what is unfinished, then the others, slice by slice. */
export class ReplicationHistory {
  readonly #earlier: EarlierReplications;
  readonly #store: ReplicationStore;
  readonly #overwritten: OverwrittenRows;
  /** Set until all are read. */
  #reading: { known: Promise<void>; end(): void; writes: EarlyWrites } | undefined;

  constructor(
    options: { clock: ElapsedClock; log: FastifyBaseLogger },
    store: ReplicationStore,
    overwritten: OverwrittenRows,
  ) {
    this.#earlier = new EarlierReplications(options);
    this.#store = store;
    this.#overwritten = overwritten;
  }

  /** Settles once all are read; undefined if they are. */
  get known(): Promise<void> | undefined {
    return this.#reading?.known;
  }

  /** The greatest id of an earlier daemon's replication; empty if there is none. */
  get lastId(): string {
    return this.#earlier.lastId;
  }

  /** Reads what clients must find from the start. @returns the unfinished ones */
  async first(rows: StoredRows): Promise<Replication[]> {
    const unfinished: Replication[] = [];
    for await (const earlier of this.#earlier.first(rows)) {
      this.#restore(earlier);
      if (!earlier.replication.finished) unfinished.push(earlier.replication);
    }
    let end = () => {};
    const known = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#reading = { known, end, writes: new EarlyWrites() };
    return unfinished;
  }

  /** @param slice some of all rows, in the order of their keys */
  next(slice: readonly Row[]): void {
    for (const earlier of this.#earlier.next(slice)) this.#restoreLate(earlier);
  }

  /** There are no more rows. */
  end(): void {
    for (const earlier of this.#earlier.end()) this.#restoreLate(earlier);
    this.#reading?.end();
    this.#reading = undefined;
  }

  /** Other work has written bytes that a replication which is not read yet may have left inconsistent. */
  written(written: Written): void {
    this.#reading?.writes.note(written);
  }

  #restore(earlier: EarlierReplication): void {
    earlier.replication.acknowledged = true;
    this.#store.restore(earlier);
  }

  #restoreLate(earlier: EarlierReplication): void {
    const remaining = this.#reading?.writes.remainderOf(earlier) ?? earlier;
    this.#restore(remaining);
    if (remaining !== earlier) this.#overwritten.note(remaining.replication);
  }
}
