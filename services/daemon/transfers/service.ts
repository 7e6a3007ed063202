// SPDX-License-Identifier: Apache-2.0
import type { Writable } from 'node:stream';
import { seesTransfersOf, type Viewer } from '../access/visibility.ts';
import { type HeapOptions, heapShare } from '../base/heap.ts';
import { isClosed } from '../http/client-left.ts';
import type { Rows } from '../journal/store.ts';
import { Problem, withMembers } from '../problems/problem.ts';
import { ActiveTransfer, type Surroundings } from './active.ts';
import { Archive } from './archive.ts';
import { documentFor } from './document.ts';
import { Feed } from './feed.ts';
import type { FinishedLimits } from './finished.ts';
import { History, type HistoryLimits, type Page } from './history.ts';
import { IdempotencyKeys, type Meaning } from './idempotency.ts';
import { TransferIds } from './ids.ts';
import { reportEnd } from './observer.ts';
import type { Recovered } from './recovery.ts';
import { endedRows } from './rows.ts';
import type { TransferListQuery, TransferPatch } from './schema.ts';
import { type Origin, type Outcome, Transfer, type TransferPlan } from './transfer.ts';

/**
 * A week for those who come back from one. Of those whose clients have their ends, as many as an
 * operator looks through; of the others, as many as a client may have waiting.
 */
const WEEK_MS = 7 * 24 * 3600 * 1000;
const HISTORY = {
  answered: { transfers: 10_000, segments: 262_144, ms: WEEK_MS },
  accepted202: { transfers: 100_000, segments: 262_144, ms: WEEK_MS },
};
/**
 * What finished transfers and keys may take of the heap in all: 1.2 KB each, and their segments. 40 % is
 * for what waits: see order/work-queue.ts.
 */
const HISTORY_HEAP_PART = 0.4;
const HISTORY_HEAP_BYTES = 110_000 * 1200 + 2 * 262_144 * 64;
/** How many of earlier daemons are known at once while they are read, beside those that can be kept. */
const PAST_PART = 1.25;
const FORGET_EVERY_MS = 60_000;
/** So much time at most, and what the host is off, counts for nobody if the host goes down. */
const KEEP_CLOCK_EVERY_MS = 600_000;

/** With a small heap, fewer finished transfers and fewer keys are kept. */
export type TransferServiceOptions = Omit<Surroundings, 'archive' | 'feed' | 'left'> & HeapOptions;

export interface Created {
  transfer: Transfer;
  /** Whether a request before this one made it. */
  replayed: boolean;
}

/** Accepts transfers, sees them through, and knows how each of them stands. */
export class TransferService {
  readonly feed = new Feed();
  readonly #options: TransferServiceOptions;
  readonly #ids = new TransferIds();
  readonly #archive: Archive;
  readonly #history: History;
  readonly #keys: IdempotencyKeys;
  readonly #forgetting: NodeJS.Timeout;
  readonly #keepingClock: NodeJS.Timeout;
  readonly #active = new Map<string, ActiveTransfer>();
  /** Until all is known of earlier daemons' transfers: those that are over, and whoever waits. */
  #past: { over: Transfer[]; all: Promise<void>; known(): void } | undefined = unknownPast();
  /** How many finished ones of earlier daemons may be known before all are. */
  readonly #maxPast: number;
  readonly #surroundings: Surroundings;

  constructor(options: TransferServiceOptions) {
    this.#options = options;
    this.#archive = new Archive(options.journal);
    const limits = historyLimits(options);
    this.#maxPast = PAST_PART * (limits.answered.transfers + limits.accepted202.transfers);
    this.#history = new History(limits, (transfer) => this.#archive.remove(transfer));
    this.#keys = new IdempotencyKeys((transfer) => this.#history.release(transfer), options);
    this.#surroundings = {
      ...options,
      archive: this.#archive,
      feed: this.feed,
      left: (transfer) => {
        this.#active.delete(transfer.id);
        if (transfer.over) this.#finish(transfer);
      },
    };
    this.#forgetting = setInterval(() => {
      this.#keys.forgetExpired();
      this.#history.forgetOld();
    }, FORGET_EVERY_MS).unref();
    this.#keepingClock = setInterval(() => this.#keepClock(), KEEP_CLOCK_EVERY_MS).unref();
  }

  get running(): number {
    let running = 0;
    for (const { transfer } of this.#active.values()) {
      if (transfer.status === 'running') running++;
    }
    return running;
  }

  get queued(): number {
    return this.#active.size - this.running;
  }

  /**
   * Accepts a transfer; it may have started, though not ended, when this resolves.
   *
   * @param request what it means, whether or not that can be done now
   * @param journaled whether it must be in the journal by then, and before it starts; one with an
   *   Idempotency-Key always is
   * @param makePlan builds the plan; not called for a replay, which may no longer be plannable
   * @returns the transfer, or the one that was made before
   * @throws Problem if it is not accepted, and then nothing is kept of it: what `makePlan` throws;
   *   idempotency_key_reused if another request used the key; queue_full and the like
   */
  async create(
    request: Meaning,
    origin: Origin,
    journaled: boolean,
    makePlan: () => TransferPlan,
  ): Promise<Created> {
    const { client, key } = origin;
    let known = key === undefined ? undefined : this.#keys.find(client, key, request);
    if (key !== undefined && known === undefined && this.learning !== undefined) {
      await this.learning;
      known = this.#keys.find(client, key, request);
    }
    if (known !== undefined) {
      await this.#active.get(known.id)?.accepting;
      return { transfer: known, replayed: true };
    }
    const plan = makePlan();
    this.#options.queue.admitTransfer(client);

    const transfer = new Transfer(this.#ids.next(), plan, origin, this.#options.clock);
    this.#keys.remember(transfer);
    const active = this.#activate(transfer);
    if (journaled || key !== undefined) {
      try {
        await active.placeKept(() => this.#show(active));
      } catch (error) {
        if (error instanceof Problem) this.#keys.forget(transfer);
        throw error;
      }
    } else {
      this.#show(active);
      active.place();
    }
    return { transfer, replayed: false };
  }

  /**
   * Sees to it that a transfer outlives the daemon, before its client is told that it goes on. One
   * that cannot be kept is stopped. @returns once it is in the journal, or over
   */
  async keep(transfer: Transfer): Promise<void> {
    const active = this.#active.get(transfer.id);
    try {
      await active?.keep();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      active?.stop(error);
      await this.waitForEnd(transfer);
    }
  }

  /**
   * Takes up what an earlier daemon left unfinished, in the order in which that accepted it. To be
   * called before anything is created. What is to run again has its place in the order from now on,
   * and waits for {@link settlePast}.
   *
   * @param lastId the greatest id that an earlier daemon gave; those to come are greater
   * @returns once what becomes of it is in the journal
   */
  async takeUp(left: readonly Recovered[], lastId: string | undefined): Promise<void> {
    if (lastId !== undefined) this.#ids.passOver(lastId);
    this.#keepClock();
    for (const recovered of left) this.#addPast(recovered);
    await this.#options.journal.record(
      new Map(left.flatMap((recovered) => [...interruptedRows(recovered)])),
    );
    // If the daemon ends meanwhile, the next one will do.
    if (this.#options.queue.closing) return;
    for (const recovered of left) {
      if (recovered.kind !== 'again') continue;
      const active = this.#activate(recovered.transfer, recovered.reruns);
      active.limitTime();
      active.hold();
    }
  }

  /** Adds transfers of earlier daemons that are over, and that were not taken up. */
  addPast(over: readonly Recovered[]): void {
    for (const recovered of over) this.#addPast(recovered);
  }

  /**
   * All that earlier daemons left is known now.
   *
   * @param doubt why what was unfinished must not run again after all; undefined if it may
   */
  settlePast(doubt: string | undefined): void {
    const past = this.#past;
    this.#past = undefined;
    this.#finishFirst(past?.over ?? []);
    past?.known();
    for (const active of this.#active.values()) {
      if (doubt === undefined) active.rerun();
      else active.interruptHeld(doubt);
    }
  }

  /** While not all is known of earlier daemons' transfers. */
  get learning(): Promise<void> | undefined {
    return this.#past?.all;
  }

  #addPast(recovered: Recovered): void {
    const { transfer } = recovered;
    transfer.promised = true;
    if (recovered.kind === 'interrupted') {
      transfer.finish(transfer.outcome(undefined, recovered.error));
      reportEnd(this.#options, transfer);
    }
    if (recovered.kind !== 'again') this.#archive.alsoRemove(transfer, recovered.foreign);
    this.#history.add(transfer, this.#keys.remember(transfer));
    if (transfer.over) this.#finish(transfer);
  }

  #finish(transfer: Transfer): void {
    if (this.#past === undefined) {
      this.#history.finish(transfer);
      return;
    }
    const { over } = this.#past;
    over.push(transfer);
    // An earlier daemon had a larger heap: not all of them would fit this one's.
    if (over.length >= this.#maxPast) this.#finishFirst(over, over.length * (1 - 1 / PAST_PART));
  }

  /** From now on these may be forgotten, the first to end first. @param count of how many of them */
  #finishFirst(past: Transfer[], count = past.length): void {
    past.sort((a, b) => b.overForMs - a.overForMs);
    for (const transfer of past.splice(0, count)) this.#history.finish(transfer);
  }

  /** @throws Problem not_found, also if the viewer may not see it */
  async get(id: string, viewer: Viewer): Promise<Transfer> {
    if (this.#history.get(id) === undefined) await this.learning;
    return this.#seen(id, viewer);
  }

  #seen(id: string, viewer: Viewer): Transfer {
    const transfer = this.#history.get(id);
    if (transfer === undefined || !seesTransfersOf(viewer, transfer.origin.client)) {
      throw new Problem('not_found', 'There is no such transfer, or it ended too long ago.');
    }
    return transfer;
  }

  /** See {@link History.unfinished}. */
  unfinished(viewer: Viewer, after: string, count: number): Transfer[] {
    return this.#history.unfinished(viewer, after, count);
  }

  /**
   * @param unwanted whether nobody waits for the page any more
   * @throws Problem invalid_request for a page token that does not fit
   */
  async list(query: TransferListQuery, viewer: Viewer, unwanted?: () => boolean): Promise<Page> {
    await this.learning;
    return this.#history.page(query, viewer, unwanted);
  }

  /**
   * @param answer for which it waits: once that is closed, nobody waits any more
   * @returns once the transfer is over, or left to the next daemon, or `waitMs` have passed
   */
  async waitForEnd(
    transfer: Transfer,
    waitMs = Number.POSITIVE_INFINITY,
    answer?: Writable,
  ): Promise<void> {
    if (!this.#active.has(transfer.id) || waitMs <= 0) return;
    if (answer !== undefined && isClosed(answer)) return;
    await new Promise<void>((resolve) => {
      const timer = Number.isFinite(waitMs) ? setTimeout(end, waitMs) : undefined;
      const unsubscribe = this.feed.watch(transfer.id, () => {
        if (!this.#active.has(transfer.id)) end();
      });
      answer?.on('close', end);
      function end() {
        answer?.off('close', end);
        clearTimeout(timer);
        unsubscribe();
        resolve();
      }
    });
  }

  /**
   * Stops a transfer; one that was cancelled before is given again.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable if it ended otherwise
   */
  async cancel(id: string, viewer: Viewer): Promise<Transfer> {
    if (this.#history.get(id) === undefined) await this.learning;
    const transfer = this.#seen(id, viewer);
    const active = this.#active.get(id);
    if (active !== undefined) {
      active.stop(new Problem('cancelled', 'It was cancelled by a client.'));
      await this.waitForEnd(transfer);
    }
    if (transfer.status !== 'cancelled') {
      throw new Problem('not_cancellable', `The transfer is over: ${transfer.status}.`, {
        members: { transfer: documentFor(viewer, transfer) },
      });
    }
    return transfer;
  }

  /**
   * Changes the settings of a transfer.
   *
   * @returns once that is in the journal, if the transfer is
   * @throws Problem not_found; not_changeable if it is over, or runs; and what
   *   {@link ActiveTransfer.change} throws
   */
  async change(id: string, viewer: Viewer, patch: TransferPatch): Promise<Transfer> {
    const transfer = await this.get(id, viewer);
    const active = this.#active.get(id);
    const shown = () => ({ transfer: documentFor(viewer, transfer) });
    let changed: boolean | undefined;
    try {
      changed = await active?.change(patch);
    } catch (error) {
      const shows = error instanceof Problem && error.code === 'not_changeable';
      throw shows ? withMembers(error, shown()) : error;
    }
    if (!changed) {
      await this.waitForEnd(transfer);
      const detail = `The transfer is over: ${transfer.status}.`;
      throw new Problem('not_changeable', detail, { members: shown() });
    }
    this.#keys.weighAgain(transfer);
    this.feed.publish('status', transfer);
    return transfer;
  }

  /**
   * Stops all that is not over. What the journal has is left for the next daemon, unless that could
   * not run it again; the rest is interrupted. @returns once it has stopped
   */
  async interrupt(): Promise<void> {
    // First all that could start: once the journal stops waiting, nothing must go on behind an end
    // that is not on disk.
    for (const active of [...this.#active.values()]) {
      if (active.journaling === undefined) active.interrupt();
    }
    this.#options.journal.stopWaiting();
    await Promise.allSettled([...this.#active.values()].map(({ journaling }) => journaling));
    const left = [...this.#active.values()];
    for (const active of left) active.interrupt();
    await Promise.all(left.map(({ transfer }) => this.waitForEnd(transfer)));
  }

  /** Hands to the journal what it has not been given yet. */
  close(): void {
    clearInterval(this.#forgetting);
    clearInterval(this.#keepingClock);
    this.#keepClock();
    this.#archive.close();
  }

  #keepClock(): void {
    this.#options.journal.writeSoon(this.#options.clock.row());
  }

  #activate(transfer: Transfer, reruns?: number): ActiveTransfer {
    const active = new ActiveTransfer(transfer, this.#surroundings, reruns);
    this.#active.set(transfer.id, active);
    return active;
  }

  /** From now on it can be asked for. */
  #show(active: ActiveTransfer): void {
    const { transfer } = active;
    this.#history.add(transfer, transfer.origin.key !== undefined);
    active.limitTime();
    this.feed.publish('status', transfer);
  }
}

function historyLimits(options: HeapOptions): HistoryLimits {
  const share = heapShare(options, HISTORY_HEAP_PART, HISTORY_HEAP_BYTES);
  const shareOf = ({ transfers, segments, ms }: FinishedLimits): FinishedLimits => ({
    transfers: Math.floor(transfers * share),
    segments: Math.floor(segments * share),
    ms,
  });
  return { answered: shareOf(HISTORY.answered), accepted202: shareOf(HISTORY.accepted202) };
}

function unknownPast() {
  let known = () => {};
  const all = new Promise<void>((resolve) => {
    known = resolve;
  });
  return { over: [], all, known };
}

/** How one ended that is not run again; rows of later versions stay as they are. */
function interruptedRows(recovered: Recovered): Rows {
  if (recovered.kind !== 'interrupted' || recovered.foreign.length > 0) return new Map();
  return endedRows(recovered.transfer, recovered.transfer.end as Outcome);
}
