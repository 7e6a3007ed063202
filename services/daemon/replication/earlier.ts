// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import { Problem } from '../../http/problems/problem.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Row, StoredRows } from '../journal/stored-rows.ts';
import { type EarlierReplication, readReplications } from './read-rows.ts';
import { hasLeftInconsistent, hasNotEnded, idOf } from './rows.ts';

/** How many rows are read in one turn of the event loop: some milliseconds. */
const SLICE = 200;

/**
 * Reads the replications of earlier daemons: first those that are unfinished or left a range inconsistent,
 * which clients must find from the start; then the others from slices of all rows, as those are read.
 */
export class EarlierReplications {
  readonly #options: { clock: ElapsedClock; log: FastifyBaseLogger };
  readonly #readFirst = new Set<string>();
  /** The greatest id of an earlier daemon's replication; empty if there is none. */
  #last = '';
  /** Rows of the replication that the last slice ended with: the next slice may have more of them. */
  #held: Row[] = [];

  constructor(options: { clock: ElapsedClock; log: FastifyBaseLogger }) {
    this.#options = options;
  }

  /** The greatest id of an earlier daemon's replication; empty if there is none. */
  get lastId(): string {
    return this.#last;
  }

  /** @param rows whose keys are in memory */
  async *first(rows: StoredRows): AsyncGenerator<EarlierReplication> {
    let wanted: string[] = [];
    for (const { id, keys } of byReplication(rows.keys)) {
      this.#last = id;
      if (!hasNotEnded(keys) && !hasLeftInconsistent(keys)) continue;
      this.#readFirst.add(id);
      // Not push(...keys): there may be too many for arguments of a call.
      for (const key of keys) wanted.push(key);
      if (wanted.length < SLICE) continue;
      yield* this.#read(await rows.get(wanted));
      wanted = [];
      await nextTurn();
    }
    yield* this.#read(await rows.get(wanted));
  }

  /** @param slice some of all rows, in the order of their keys */
  next(slice: readonly Row[]): EarlierReplication[] {
    const rows = [...this.#held, ...slice.filter(([key]) => this.#isMissing(idOf(key)))];
    const last = idOf(rows.at(-1)?.[0]);
    const cut = rows.findIndex(([key]) => idOf(key) === last);
    this.#held = rows.slice(Math.max(cut, 0));
    return this.#readFinished(rows.slice(0, Math.max(cut, 0)));
  }

  /** There are no more rows. */
  end(): EarlierReplication[] {
    this.#readFirst.clear();
    return this.#readFinished(this.#held.splice(0));
  }

  /** Slices also have rows that this daemon has written meanwhile. */
  #isMissing(id: string | undefined): boolean {
    return id !== undefined && id <= this.#last && !this.#readFirst.has(id);
  }

  #readFinished(rows: readonly Row[]): EarlierReplication[] {
    const earlier = this.#read(rows);
    for (const { replication } of earlier) {
      if (replication.finished) continue;
      // It has a row of its end, which could not be read.
      const detail = 'The outcome is unknown: its row in the journal cannot be read.';
      replication.finish(replication.end(new Problem('interrupted', detail)));
    }
    return earlier;
  }

  #read(rows: readonly Row[]): EarlierReplication[] {
    const { clock, log } = this.#options;
    return readReplications(rows, clock, (key) => {
      log.error({ key }, 'journal: this version cannot read a row of a replication, and keeps it');
    });
  }
}

/** The keys of each replication, which are together in the order of all keys. */
function* byReplication(keys: readonly string[]): Generator<{ id: string; keys: string[] }> {
  let current: { id: string; keys: string[] } | undefined;
  for (const key of keys) {
    const id = idOf(key);
    if (id === undefined) continue;
    if (current?.id !== id) {
      if (current !== undefined) yield current;
      current = { id, keys: [] };
    }
    current.keys.push(key);
  }
  if (current !== undefined) yield current;
}
