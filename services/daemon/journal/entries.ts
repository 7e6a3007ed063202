// SPDX-License-Identifier: Apache-2.0
import type { Problem } from '../../http/problems/problem.ts';
import type { Rows } from './store.ts';

/** Rows that count only once their batch is committed. */
export interface Acceptance {
  kind: 'acceptance';
  rows: Rows;
  accepted(): void;
  refused(problem: Problem): void;
  /** Called if it cannot be known for now whether they count. */
  undecided(problem: Problem): void;
}

/** Rows of what has happened already: they are written again and again until they are there. */
export interface Fact {
  kind: 'fact';
  rows: Rows;
  /** @param kept whether they are on disk, or it is marked there that they are missing */
  done(kept: boolean): void;
}

/** Rows that a crash may lose. */
interface Note {
  kind: 'note';
  rows: Rows;
}

export type Entry = Acceptance | Fact | Note;

/** Whether somebody waits for it. */
export function isUrgent({ kind }: Entry): boolean {
  return kind !== 'note';
}

/** All rows of a batch; later ones replace earlier ones. */
export function rowsOf(entries: readonly Entry[]): Map<string, string | undefined> {
  return new Map(entries.flatMap(({ rows }) => [...rows]));
}

/** Rows that take away what has these keys. */
export function absent(keys: Iterable<string>): Rows {
  return new Map(Array.from(keys, (key) => [key, undefined]));
}

/** Refuses the acceptances of a batch that failed. @returns what is still to be written, their removal included */
export function refuseAcceptances(entries: readonly Entry[], problem: Problem): Entry[] {
  return entries.map((entry) => {
    if (entry.kind !== 'acceptance') return entry;
    entry.refused(problem);
    return { kind: 'note', rows: absent(entry.rows.keys()) };
  });
}

/**
 * Lets go on what waits for its rows; they are still written if they can be.
 *
 * @param kept see {@link Fact.done}
 */
export function giveUpFacts(entries: readonly Entry[], kept: boolean): Entry[] {
  return entries.map((entry) => {
    if (entry.kind !== 'fact') return entry;
    entry.done(kept);
    return { kind: 'note', rows: entry.rows };
  });
}
