// SPDX-License-Identifier: Apache-2.0

import type { Writable } from 'node:stream';
import { type HeapOptions, heapShare } from '../../base/heap.ts';
import { SlotMap } from '../../base/slots.ts';
import { TransferIds } from '../../base/transfer-ids.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import { Problem, withMembers } from '../../http/problems/problem.ts';
import { waitWhile } from '../../http/wait.ts';
import type { Rows } from '../journal/store.ts';
import type { Ticket } from '../order/scheduler.ts';
import type { Work } from '../order/work-queue.ts';
import { type ActiveOptions, ActiveTransfer, type Surroundings } from './active.ts';
import { Archive } from './archive.ts';
import { indexOf } from './batch.ts';
import { type Dependency, Dependents, dependenciesOf } from './dependencies.ts';
import { documentFor } from './document.ts';
import { Feed } from './feed.ts';
import type { FinishedLimits } from './finished.ts';
import { History, type HistoryLimits, type Page } from './history.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { acceptTogether } from './journal-entry.ts';
import { reportEnd } from './observer.ts';
import type { Recovered } from './recovery.ts';
import type { Meaning } from './request.ts';
import type { PlacedWork } from './restore.ts';
import { endedRows, partsOf, type RowsOf } from './rows.ts';
import type { TransferListQuery, TransferPatch } from './schema.ts';
import { type Origin, type Outcome, Transfer, type TransferPlan } from './transfer.ts';
import { TransferEvent } from './transfer-event.ts';
import type { WorkSource } from './watch.ts';

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
 * What finished transfers and keys may take in all, by the heap's size: 1.2 KB each, and their segments. As bytes beside
 * the heap they take a third of that, and their keys and indexes some of the heap. 40 % is
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
export type TransferServiceOptions = Omit<
  Surroundings,
  'archive' | 'feed' | 'interrupting' | 'accepted' | 'left' | 'finished' | 'keep'
> &
  HeapOptions;

/** What a client asks for. */
export interface NewTransfer {
  /**
   * What it means, whether or not that can be done now. Of several requests, `dependsOn` names earlier
   * ones as `#` and their index.
   */
  request: Meaning;
  origin: Origin;
  /** Builds the plan; not called for a replay, which may no longer be plannable. */
  makePlan(): TransferPlan;
}

/** A transfer that is not accepted yet, and what it depends on. */
interface Prepared {
  transfer: Transfer;
  dependencies: readonly Dependency[];
}

export interface Created {
  transfer: Transfer;
  /** Whether a request before this one made it. */
  replayed: boolean;
}

/** Accepts transfers, sees them through, and knows how each of them stands. */
export class TransferService implements WorkSource {
  readonly feed = new Feed();
  readonly #options: TransferServiceOptions;
  /** Names all work that is accepted, so that ids are in the order of acceptance. */
  readonly ids = new TransferIds();
  readonly #archive: Archive;
  readonly #history: History;
  readonly #keys: IdempotencyKeys;
  readonly #forgetting: NodeJS.Timeout;
  readonly #keepingClock: NodeJS.Timeout;
  readonly #active = new SlotMap<string, ActiveTransfer>();
  readonly #dependents = new Dependents();
  /** Those that have left without success and whose dependents are still to be stopped. */
  readonly #failed: Transfer[] = [];
  /** What transfers of earlier daemons depend on, until all of those are known. */
  readonly #openDependencies = new Map<ActiveTransfer, readonly string[]>();
  #past: Past | undefined = unknownPast();
  /** How many finished ones of earlier daemons may be known before all are. */
  readonly #maxPast: number;
  readonly #surroundings: Surroundings & { interrupting: boolean };

  constructor(options: TransferServiceOptions) {
    this.#options = options;
    this.#archive = new Archive(options.journal, (id) => this.#history.get(id));
    const limits = historyLimits(options);
    this.#maxPast = PAST_PART * (limits.answered.transfers + limits.accepted202.transfers);
    this.#history = new History(limits, options.clock, (rows) => this.#forget(rows));
    this.#keys = new IdempotencyKeys((id) => this.#history.release(id), options);
    this.#surroundings = {
      ...options,
      archive: this.#archive,
      feed: this.feed,
      interrupting: false,
      accepted: (active) => this.#show(active),
      left: (active) => this.#left(active),
      finished: (transfer) => this.#finished(transfer),
      keep: (dependencies) => this.#keepSoon(dependencies),
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
   * Accepts transfers, all or none; they may have started, though not ended, when this resolves.
   *
   * @param journaled whether they must be in the journal by then, and before they start; with an
   *   Idempotency-Key they always are
   * @param about what a problem says that is about one of them
   * @returns for each the transfer, or the one that was made before
   * @throws Problem if they are not accepted, and then nothing is kept of them: what `makePlan`
   *   throws; unknown_transfer; idempotency_key_reused if another request used the key; queue_full and
   *   the like
   */
  async create(
    requests: readonly NewTransfer[],
    journaled: boolean,
    about: (problem: Problem, index: number) => Problem = (problem) => problem,
  ): Promise<Created[]> {
    for (let wait = this.#unknown(requests); wait; wait = this.#unknown(requests)) await wait;
    // From here to their places in the order nothing else runs.
    const { created, fresh } = this.#prepare(requests, about);
    const actives = fresh.map(({ transfer, dependencies }) =>
      this.#activate(transfer, { dependencies }),
    );
    if (journaled || fresh.some(({ transfer }) => transfer.origin.key !== undefined)) {
      for (const active of actives) active.placeAccepting(this.#ticketsOf(active.dependencies));
      try {
        if (actives.length > 0) await acceptTogether(actives, this.#options.journal);
      } catch (error) {
        if (error instanceof Problem) for (const { transfer } of fresh) this.#keys.forget(transfer);
        throw error;
      }
    } else {
      for (const active of actives) {
        this.#show(active);
        active.place(this.#ticketsOf(active.dependencies));
        active.checkDependencies();
      }
    }
    return created;
  }

  /** While it is not known which transfers these requests name, or whether their keys are taken. */
  #unknown(requests: readonly NewTransfer[]): Promise<unknown> | undefined {
    const known = ({ origin: { client, key } }: NewTransfer) =>
      key === undefined ? undefined : this.#keys.peek(client, key);
    const learning = this.learning;
    const unsure = (request: NewTransfer) =>
      (request.origin.key !== undefined && known(request) === undefined) ||
      request.request.dependsOn.some((id) => !this.#history.has(id));
    if (learning !== undefined && requests.some(unsure)) return learning;
    const accepting = requests.flatMap((request) => {
      const id = known(request);
      return (id && this.#active.get(id)?.accepting) || [];
    });
    return accepting.length > 0 ? Promise.all(accepting) : undefined;
  }

  #prepare(requests: readonly NewTransfer[], about: (problem: Problem, index: number) => Problem) {
    const created: Created[] = [];
    const fresh = new Map<string, Prepared>();
    const earlier = this.#findingOnce();
    const find = (id: string) => fresh.get(id)?.transfer ?? earlier(id);
    try {
      for (const request of requests) created.push(this.#prepareOne(request, created, fresh, find));
    } catch (error) {
      for (const { transfer } of fresh.values()) this.#keys.forget(transfer);
      throw error instanceof Problem ? about(error, created.length) : error;
    }
    return { created, fresh: [...fresh.values()] };
  }

  /**
   * @param before what came of the requests before it
   * @param fresh receives it, if it is no replay
   * @param find gives what it may depend on
   */
  #prepareOne(
    { request, origin, makePlan }: NewTransfer,
    before: readonly Created[],
    fresh: Map<string, Prepared>,
    find: (id: string) => Dependency | undefined,
  ): Created {
    const { client, key } = origin;
    const named = request.dependsOn.map(
      (name) => before[indexOf(name) ?? before.length]?.transfer.id ?? name,
    );
    const dependsOn = named.length === 0 ? named : [...new Set(named)];
    const known = key && this.#keys.find(client, key, { ...request, dependsOn });
    const replayed = known ? (fresh.get(known)?.transfer ?? this.#history.get(known)) : undefined;
    if (replayed !== undefined) return { transfer: replayed, replayed: true };
    const plan = Object.assign(makePlan(), { dependsOn });
    const dependencies = dependenciesOf(named, client, find);
    this.#options.queue.admitTransfers(client, fresh.size + 1);
    const transfer = new Transfer(this.ids.next(), plan, origin, this.#options.clock);
    this.#keys.remember(transfer);
    fresh.set(transfer.id, { transfer, dependencies });
    return { transfer, replayed: false };
  }

  /**
   * Sees whether there are the transfers that requests would depend on.
   *
   * @param about see {@link create}
   * @throws Problem unknown_transfer
   */
  async checkDependencies(
    requests: readonly Pick<Meaning, 'dependsOn'>[],
    client: string,
    about: (problem: Problem, index: number) => Problem = (problem) => problem,
  ): Promise<void> {
    const names = requests.flatMap(({ dependsOn }) => dependsOn);
    if (names.some((id) => !this.#history.has(id))) await this.learning;
    const find = this.#findingOnce();
    for (const [index, { dependsOn }] of requests.entries()) {
      try {
        dependenciesOf(dependsOn, client, (name) =>
          (indexOf(name) ?? index) < index ? 'earlier' : find(name),
        );
      } catch (error) {
        throw error instanceof Problem ? about(error, index) : error;
      }
    }
  }

  /** A function that looks up each transfer once, however many depend on it. */
  #findingOnce(): (id: string) => Dependency | undefined {
    let found: Map<string, Dependency | undefined> | undefined;
    return (id) => {
      // Most depend on none.
      found ??= new Map();
      if (!found.has(id)) found.set(id, this.#history.dependency(id));
      return found.get(id);
    };
  }

  /** The places of those of them that are not over. */
  #ticketsOf(transfers: readonly Dependency[]): Ticket<Work>[] {
    return transfers.flatMap(({ id }) => this.#active.get(id)?.ticket ?? []);
  }

  /** Has transfers outlive the daemon; not at once, for each may have more that it depends on. */
  #keepSoon(transfers: readonly Dependency[]): void {
    for (const { id } of transfers) {
      queueMicrotask(() => {
        // Should it be refused, so is what depends on it.
        this.#active
          .get(id)
          ?.keep()
          .catch(() => {});
      });
    }
  }

  #left(active: ActiveTransfer): void {
    this.#active.delete(active.transfer.id);
    this.#dependents.remove(active);
  }

  #finished(transfer: Transfer): void {
    this.#keys.finish(transfer);
    this.#finish(transfer);
    this.#dependents.finished(transfer);
    if (transfer.status === 'succeeded') return;
    // A loop, not a recursion: a chain of them may be as long as there are transfers.
    this.#failed.push(transfer);
    if (this.#failed.length > 1) return;
    for (const failed of this.#failed) {
      for (const dependent of this.#dependents.of(failed.id)) dependent.checkDependencies();
    }
    this.#failed.length = 0;
  }

  /** It can be asked for no longer. */
  #forget(rows: RowsOf): void {
    // First, for after that nobody could tell a later daemon that it had succeeded.
    for (const dependent of this.#dependents.of(rows.id)) dependent.noteDependencies();
    this.#archive.remove(rows);
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
   * Restores what an earlier daemon left unfinished, in the order in which that accepted it. To be
   * called before anything is created. What is to run again has its place in the order from now on,
   * and waits for {@link settlePast}.
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
    if (lastId !== undefined) this.ids.passOver(lastId);
    this.#keepClock();
    for (const recovered of left) this.#addPast(recovered);
    await this.#options.journal.takeOver(
      new Map(left.flatMap((recovered) => [...interruptedRows(recovered)])),
    );
    // If the daemon ends meanwhile, the next one will do.
    if (this.#options.queue.closing) return;
    const waiting = others.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const recovered of left) {
      if (recovered.kind !== 'again') continue;
      while (waiting[0] !== undefined && waiting[0].id < recovered.transfer.id) {
        waiting.shift()?.place();
      }
      const { transfer, reruns, openDependencies } = recovered;
      const active = this.#activate(transfer, { reruns });
      this.#openDependencies.set(active, openDependencies);
      active.limitTime();
      active.hold(openDependencies.flatMap((id) => this.#active.get(id)?.ticket ?? []));
    }
    for (const other of waiting) other.place();
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
    // Before any of them is forgotten.
    const find = this.#findingOnce();
    for (const [active, ids] of this.#openDependencies) this.#resolve(active, ids, find);
    this.#openDependencies.clear();
    this.#finishFirst(past?.over ?? []);
    past?.known();
    for (const active of this.#active.values()) {
      if (doubt === undefined) active.rerun();
      else active.interruptHeld(doubt);
    }
  }

  /** Looks up what one of an earlier daemon depends on. */
  #resolve(
    active: ActiveTransfer,
    ids: readonly string[],
    find: (id: string) => Dependency | undefined,
  ): void {
    active.dependOn(ids.flatMap((id) => find(id) ?? []));
    this.#dependents.add(active);
    const missing = ids.find((id) => find(id) === undefined);
    if (missing === undefined) return;
    active.interruptHeld(`it depends on the transfer ${missing}, which is not known any more`);
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
    const { id, finishedNs } = transfer;
    this.#history.finish(transfer);
    if (this.#past === undefined) {
      this.#history.mayForget(id);
      return;
    }
    const { over } = this.#past;
    over.push({ id, finishedNs });
    // An earlier daemon had a larger heap: not all of them would fit this one's.
    if (over.length >= this.#maxPast) this.#finishFirst(over, over.length * (1 - 1 / PAST_PART));
  }

  /** From now on these may be forgotten, the first to end first. @param count of how many of them */
  #finishFirst(past: Past['over'], count = past.length): void {
    past.sort((a, b) => a.finishedNs - b.finishedNs);
    for (const { id } of past.splice(0, count)) this.#history.mayForget(id);
  }

  /** @throws Problem not_found, also if the viewer may not see it */
  async get(id: string, viewer: Viewer): Promise<Transfer> {
    if (!this.#history.has(id)) await this.learning;
    return this.#seen(id, viewer);
  }

  #seen(id: string, viewer: Viewer): Transfer {
    const transfer = this.#history.get(id);
    if (transfer === undefined || !seesTransfersOf(viewer, transfer.origin.client)) {
      throw new Problem('not_found', 'There is no such transfer, or it ended too long ago.');
    }
    return transfer;
  }

  unfinished(viewer: Viewer, after: string, count: number): TransferEvent[] {
    return this.#history
      .unfinished(viewer, after, count)
      .map((transfer) => new TransferEvent(this.feed.latest, 'status', transfer));
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
    const active = this.#active.get(transfer.id);
    if (active !== undefined) await waitWhile((done) => active.whenLeft(done), waitMs, answer);
  }

  /**
   * Stops a transfer; one that was cancelled before is given again.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable if it ended otherwise
   */
  async cancel(id: string, viewer: Viewer): Promise<Transfer> {
    if (!this.#history.has(id)) await this.learning;
    const transfer = this.#seen(id, viewer);
    const active = this.#active.get(id);
    if (active !== undefined) {
      active.stop(new Problem('cancelled', 'It was cancelled by a client.'));
      await this.waitForEnd(transfer);
    }
    if (transfer.status !== 'cancelled') {
      throw new Problem('not_cancellable', `The transfer has finished: ${transfer.status}.`, {
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
      const detail = `The transfer has finished: ${transfer.status}.`;
      throw new Problem('not_changeable', detail, { members: shown() });
    }
    this.#keys.weighAgain(transfer);
    this.feed.publish('status', transfer);
    return transfer;
  }

  /** From now on none starts, even if its turn comes. */
  startNoMore(): void {
    this.#surroundings.interrupting = true;
  }

  /**
   * Stops all that is not over. What the journal has is left for the next daemon, unless that could
   * not run it again; the rest is interrupted. @returns once it has stopped
   */
  async interrupt(): Promise<void> {
    this.startNoMore();
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

  #activate(transfer: Transfer, options?: ActiveOptions): ActiveTransfer {
    const active = new ActiveTransfer(transfer, this.#surroundings, options);
    this.#active.set(transfer.id, active);
    this.#dependents.add(active);
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

/** While not all is known of earlier daemons' transfers. */
interface Past {
  /** Those that are over. */
  over: { id: string; finishedNs: number }[];
  /** Resolves once all is known. */
  all: Promise<void>;
  known(): void;
}

function unknownPast(): Past {
  let known = () => {};
  const all = new Promise<void>((resolve) => {
    known = resolve;
  });
  return { over: [], all, known };
}

/** How one ended that is not run again; rows of later versions stay as they are. */
function interruptedRows(recovered: Recovered): Rows {
  if (recovered.kind !== 'interrupted') return new Map();
  // A later version may have written its end in a way that is not known here.
  if (recovered.foreign.some((key) => partsOf(key)[1] === 'ended')) return new Map();
  return endedRows(recovered.transfer, recovered.transfer.end as Outcome);
}
