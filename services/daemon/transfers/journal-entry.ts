// SPDX-License-Identifier: Apache-2.0
import { OutcomeUnknown, type Problem } from '../../http/problems/problem.ts';
import type { Journal } from '../journal/journal.ts';
import type { Rows } from '../journal/store.ts';
import { type Dependency, openIdsOf } from './dependencies.ts';
import { touchesItself } from './recovery.ts';
import {
  acceptedRows,
  begunRows,
  changedRows,
  dependencyRows,
  endedRows,
  keyOf,
  keysOf,
  rowsOf,
  unsettledRows,
} from './rows.ts';
import type { SourceState } from './source-state.ts';
import type { Change, Outcome, Transfer } from './transfer.ts';

/** Whether the journal has a transfer. */
type State =
  | { is: 'absent' }
  /**
   * `answer` rejects if it is refused, or if that is not decided in time. `otherRows`: the journal was
   * given more rows of it than those of its acceptance, which then have to go too.
   */
  | { is: 'arriving'; answer: Promise<void>; otherRows: boolean }
  | { is: 'present' };

const ABSENT: State = { is: 'absent' };
const PRESENT: State = { is: 'present' };

/** How a transfer stands when the journal receives it. */
export interface Standing {
  source: SourceState;
  /** It runs already. */
  running: boolean;
  dependencies: readonly Dependency[];
}

/** What the journal has of a transfer that has not finished, and is given as that goes on. */
export class JournalEntry {
  readonly #transfer: Transfer;
  readonly #journal: Journal;
  /** How many daemons ran it again, and died; undefined if this one accepted it. */
  readonly #reruns: number | undefined;
  #state: State;
  /** Whether {@link begin} was called, and has not been taken back. */
  #begun = false;
  /** Of how many of its dependencies {@link noteDependencies} has last said that they are open. */
  #notedOpen: number | undefined;

  /** @param reruns how many daemons ran it again, and died, if the journal has it already */
  constructor(transfer: Transfer, journal: Journal, reruns: number | undefined) {
    this.#transfer = transfer;
    this.#journal = journal;
    this.#reruns = reruns;
    this.#state = reruns === undefined ? ABSENT : PRESENT;
  }

  /** The journal neither has it nor is to have it: it needs nothing there when it ends. */
  get absent(): boolean {
    return this.#state.is === 'absent';
  }

  get present(): boolean {
    return this.#state.is === 'present';
  }

  /** While it is on its way, and may yet be refused. */
  get arriving(): Promise<void> | undefined {
    return this.#state.is === 'arriving' ? this.#state.answer : undefined;
  }

  /** @param answer rejects if it is refused, or if that is not decided in time @returns its rows */
  arrive(answer: Promise<void>, { source, running, dependencies }: Standing): Rows {
    const transfer = this.#transfer;
    this.#state = { is: 'arriving', answer, otherRows: false };
    return new Map([
      ...acceptedRows(transfer, source),
      ...(transfer.change === undefined ? [] : changedRows(transfer, transfer.change)),
      ...dependencyRows(transfer, openIdsOf(dependencies)),
      ...(running ? begunRows(transfer, 0) : []),
    ]);
  }

  /** The journal has it. */
  arrived(): void {
    this.#state = PRESENT;
  }

  /** The journal has refused it. */
  refused(): void {
    if (this.#state.is === 'arriving' && this.#state.otherRows) {
      this.#journal.remove(keysOf(rowsOf(this.#transfer)));
    }
    this.#state = ABSENT;
    this.#begun = false;
  }

  /**
   * Whether {@link begin} must be on disk before it runs. After a crash nothing else would tell that
   * it has overwritten its own source, or brought the daemon down.
   */
  get mustRecordBegin(): boolean {
    if (this.absent || this.#begun) return false;
    return this.#reruns !== undefined || touchesItself(this.#transfer.plan);
  }

  /** It is about to run. @returns as {@link Journal.record} */
  begin(): Promise<boolean> {
    this.#begun = true;
    const reruns = this.#reruns === undefined ? 0 : this.#reruns + 1;
    return this.#journal.record(this.#besideAcceptance(begunRows(this.#transfer, reruns)));
  }

  /**
   * Its turn has come, so that from now on its source is settled. If a crash loses this row, it is
   * interrupted, which is safe.
   */
  settleSource(): void {
    // What has begun has a row that says as much.
    if (this.absent || this.#begun) return;
    this.#journal.writeSoon(this.#besideAcceptance(begunRows(this.#transfer, 0)));
  }

  /**
   * Work that a crash forgets begins to write this one's source: after a crash, it must not run.
   *
   * @returns once the journal has that, and whether it could be written; undefined: nothing to wait for
   */
  unsettleSource(): Promise<boolean> | undefined {
    if (this.absent) return undefined;
    return this.#journal.record(this.#besideAcceptance(unsettledRows(this.#transfer)));
  }

  /** @param apply makes the change @throws as {@link Journal.acceptThen} */
  change(change: Change, apply: () => void): Promise<void> {
    const rows = changedRows(this.#transfer, change);
    return this.#journal.acceptThen(rows, () => {
      if (!this.#transfer.finished) apply();
      // It was not known in time that the disk has it, and the transfer has ended without it.
      else this.#journal.remove(rows.keys());
    });
  }

  /** One of its dependencies, that has succeeded, is forgotten. */
  noteDependencies(dependencies: readonly Dependency[]): void {
    if (!this.present) return;
    const open = openIdsOf(dependencies);
    // Many are forgotten at once, and nothing new may be known of the rest.
    if (open.length === this.#notedOpen) return;
    this.#notedOpen = open.length;
    this.#journal.writeSoon(dependencyRows(this.#transfer, open));
  }

  /** @returns as {@link Journal.record} */
  end(outcome: Outcome): Promise<boolean> {
    return this.#journal.record(endedRows(this.#transfer, outcome));
  }

  /**
   * It is left to the next daemon. This one ends in order: it was not this transfer that brought it down.
   *
   * @param ran whether it may have moved bytes
   */
  takeBackBegin(ran: boolean): void {
    if (!this.#begun) return;
    this.#begun = false;
    if (!touchesItself(this.#transfer.plan)) {
      this.#journal.writeSoon(begunRows(this.#transfer, this.#reruns ?? 0));
    } else if (!ran) {
      // It had no such row before: with one, it would not have been run again.
      this.#journal.remove([keyOf(this.#transfer.id, 'begun')]);
    }
  }

  /** @returns the rows, after noting that the journal gets more of this transfer than its acceptance */
  #besideAcceptance(rows: Rows): Rows {
    if (this.#state.is === 'arriving') this.#state.otherRows = true;
    return rows;
  }
}

/** What {@link acceptTogether} puts into the journal. */
export interface Entrant {
  /** It goes there. @param answer see {@link acceptTogether} @returns its rows */
  enterJournal(answer: Promise<void>): Rows;
  /** The journal has it, be that after `answer` has been rejected. */
  enteredJournal(): void;
  refusedByJournal(): void;
}

/**
 * Puts transfers into the journal, all or none.
 *
 * @returns once they are there
 * @throws Problem if they are refused; OutcomeUnknown if that is not decided in time
 */
export function acceptTogether(entrants: readonly Entrant[], journal: Journal): Promise<void> {
  let settle = { resolve: () => {}, reject: (_error: Error) => {} };
  const answer = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const rows = new Map(entrants.flatMap((one) => [...one.enterJournal(answer)]));
  const undecided = ({ message }: Problem) => settle.reject(new OutcomeUnknown(message));
  journal.accept(rows, undecided).then(
    () => {
      for (const one of entrants) one.enteredJournal();
      settle.resolve();
    },
    (problem) => {
      for (const one of entrants) one.refusedByJournal();
      settle.reject(problem);
    },
  );
  return answer;
}
