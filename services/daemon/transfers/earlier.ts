// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { TransferIds } from '../../base/transfer-ids.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Journal } from '../journal/journal.ts';
import type { Rows } from '../journal/store.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import type { ActiveTransfer } from './active.ts';
import type { ActiveTransfers } from './active-transfers.ts';
import type { Archive } from './archive.ts';
import type { Dependency } from './dependencies.ts';
import type { History } from './history.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import { reportEnd, type TransferObserver } from './observer.ts';
import type { Recovered } from './recovery.ts';
import type { PlacedWork } from './restore.ts';
import { endedRows, partsOf } from './rows.ts';
import type { Outcome, Transfer } from './transfer.ts';

/** How many finished ones are known at once while they are read, beside those that can be kept. */
const PAST_PART = 1.25;

export interface EarlierTransfersOptions {
  active: ActiveTransfers;
  history: History;
  keys: IdempotencyKeys;
  archive: Archive;
  ids: TransferIds;
  queue: WorkQueue;
  journal: Journal;
  clock: ElapsedClock;
  observer: TransferObserver;
  log: FastifyBaseLogger;
  /** How many finished transfers can be kept. */
  maxKept: number;
}

/** While not all is known of earlier daemons' transfers. */
interface Learning {
  /** Those that are finished. */
  finished: { id: string; finishedNs: number }[];
  /** Resolves once all is known. */
  all: Promise<void>;
  known(): void;
}

/**
 * Transfers of earlier daemons. What was unfinished is known from the start, and has its place in the
 * order, where it waits until all of the rest is known too.
 */
export class EarlierTransfers {
  readonly #options: EarlierTransfersOptions;
  /** What they depend on, until all of those are known. */
  readonly #openDependencies = new Map<ActiveTransfer, readonly string[]>();
  #learning: Learning | undefined = nothingKnown();

  constructor(options: EarlierTransfersOptions) {
    this.#options = options;
  }

  /** While not all is known of them. */
  get learning(): Promise<void> | undefined {
    return this.#learning?.all;
  }

  /**
   * Restores what an earlier daemon left unfinished, in the order in which that accepted it. To be
   * called before anything is created. What is to run again has its place in the order from now on,
   * and waits for {@link settle}.
   *
   * @param lastId the greatest id that an earlier daemon gave; those to come are greater
   * @param others work beside transfers, which takes its places among them
   * @returns once what becomes of it is in the journal
   */
  async restore(
    left: readonly Recovered[],
    lastId: string | undefined,
    others: readonly PlacedWork[] = [],
  ): Promise<void> {
    const { active, clock, ids, journal, queue } = this.#options;
    if (lastId !== undefined) ids.passOver(lastId);
    journal.writeSoon(clock.row());
    for (const recovered of left) this.#add(recovered);
    await journal.takeOver(new Map(left.flatMap((recovered) => [...interruptedRows(recovered)])));
    // If the daemon ends meanwhile, the next one will do.
    if (queue.closing) return;
    const waiting = others.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const recovered of left) {
      if (recovered.kind !== 'again') continue;
      while (waiting[0] !== undefined && waiting[0].id < recovered.transfer.id) {
        waiting.shift()?.place();
      }
      const { transfer, reruns, openDependencies } = recovered;
      const again = active.add(transfer, { reruns });
      this.#openDependencies.set(again, openDependencies);
      again.limitTime();
      again.hold(openDependencies.flatMap((id) => active.get(id)?.ticket ?? []));
    }
    for (const other of waiting) other.place();
  }

  /** Adds those that are finished, and were not restored. */
  add(finished: readonly Recovered[]): void {
    for (const recovered of finished) this.#add(recovered);
  }

  /**
   * All that earlier daemons left is known now.
   *
   * @param doubt why what was unfinished must not run again after all; undefined if it may
   */
  settle(doubt: string | undefined): void {
    const learning = this.#learning;
    this.#learning = undefined;
    // Before any of them is forgotten.
    const find = this.#options.history.dependencyFinder();
    for (const [active, ids] of this.#openDependencies) this.#resolve(active, ids, find);
    this.#openDependencies.clear();
    this.#mayForget(learning?.finished ?? []);
    learning?.known();
    for (const active of this.#options.active) {
      if (doubt === undefined) active.rerun();
      else active.interruptHeld(doubt);
    }
  }

  /** A transfer of any daemon is finished; it may be forgotten, though not before those that ended earlier. */
  finish(transfer: Transfer): void {
    const { history, maxKept } = this.#options;
    const { id, finishedNs } = transfer;
    history.finish(transfer);
    if (this.#learning === undefined) {
      history.mayForget(id);
      return;
    }
    const { finished } = this.#learning;
    finished.push({ id, finishedNs });
    // An earlier daemon had a larger heap: not all of them would fit this one's.
    if (finished.length >= PAST_PART * maxKept)
      this.#mayForget(finished, finished.length * (1 - 1 / PAST_PART));
  }

  /** From now on these may be forgotten, the first to end first. @param count of how many of them */
  #mayForget(finished: Learning['finished'], count = finished.length): void {
    finished.sort((a, b) => a.finishedNs - b.finishedNs);
    for (const { id } of finished.splice(0, count)) this.#options.history.mayForget(id);
  }

  #add(recovered: Recovered): void {
    const { archive, history, keys } = this.#options;
    const { transfer } = recovered;
    transfer.acknowledged = true;
    if (recovered.kind === 'interrupted') {
      transfer.finish(transfer.outcome(undefined, recovered.error));
      reportEnd(this.#options, transfer);
    }
    if (recovered.kind !== 'again') archive.alsoRemove(transfer, recovered.foreign);
    history.add(transfer, keys.remember(transfer));
    if (transfer.finished) this.finish(transfer);
  }

  /** Looks up what one of them depends on. */
  #resolve(
    active: ActiveTransfer,
    ids: readonly string[],
    find: (id: string) => Dependency | undefined,
  ): void {
    this.#options.active.dependOn(
      active,
      ids.flatMap((id) => find(id) ?? []),
    );
    const missing = ids.find((id) => find(id) === undefined);
    if (missing === undefined) return;
    active.interruptHeld(`it depends on the transfer ${missing}, which is not known any more`);
  }
}

function nothingKnown(): Learning {
  let known = () => {};
  const all = new Promise<void>((resolve) => {
    known = resolve;
  });
  return { finished: [], all, known };
}

/** How one ended that is not run again; rows of later versions stay as they are. */
function interruptedRows(recovered: Recovered): Rows {
  if (recovered.kind !== 'interrupted') return new Map();
  // A later version may have written its end in a way that is not known here.
  if (recovered.foreign.some((key) => partsOf(key)[1] === 'ended')) return new Map();
  return endedRows(recovered.transfer, recovered.transfer.end as Outcome);
}
