// SPDX-License-Identifier: Apache-2.0
import { Slots } from '../../base/slots.ts';
import { OutcomeUnknown, Problem, retryLater } from '../../http/problems/problem.ts';
import type { Rows } from '../journal/store.ts';
import type { Ticket } from '../order/scheduler.ts';
import type { Work } from '../order/work.ts';
import { ChangeQueue, patched } from './changes.ts';
import type { TransferContext } from './context.ts';
import { type Dependency, dependencyProblem } from './dependencies.ts';
import { acceptTogether, type Entrant, JournalEntry } from './journal-entry.ts';
import { reportEnd } from './observer.ts';
import { OrderPlace } from './order-place.ts';
import { rerunProblem, touchesItself } from './recovery.ts';
import type { TransferPatch } from './request-schema.ts';
import { Run, type RunResult, whyGone } from './run.ts';
import { sourceStateOf } from './source-state.ts';
import type { Outcome, Transfer } from './transfer.ts';
import { writingOf } from './writing.ts';

export interface ActiveOptions {
  /** How many daemons ran it again, and died, if the journal has it already. */
  reruns?: number;
  /** Those that it depends on, that had not succeeded when it was accepted. */
  dependencies?: readonly Dependency[];
}

/** Why it was told to stop; `suspended`: to begin anew when the daemon runs again. */
type StopReason = Problem | 'suspended';

type State =
  /** Its rows are on their way to the disk, and it may yet be refused. `due`: its turn has come meanwhile. */
  | { is: 'accepting'; due: boolean }
  /** An earlier daemon accepted it; whether it may run again is not known yet. */
  | { is: 'held'; due: boolean }
  /** For its turn. */
  | { is: 'waiting' }
  /** Its turn has come; that it begins is on its way to the disk. */
  | { is: 'starting' }
  | { is: 'running'; run: Run }
  /** The engine was told to cancel its run. */
  | { is: 'stopping'; reason: StopReason }
  /** It has stopped, and keeps its place in the order until its end is on disk. */
  | { is: 'ending' }
  /** It has finished, or is left to the next daemon. */
  | { is: 'left' };

// Every transfer is in these: none needs an object of its own.
const WAITING: State = { is: 'waiting' };
const STARTING: State = { is: 'starting' };
const ENDING: State = { is: 'ending' };
const LEFT: State = { is: 'left' };

/** A transfer that has not finished: waits for its turn and for the journal, runs, and ends. */
export class ActiveTransfer implements Entrant {
  readonly transfer: Transfer;
  readonly #context: TransferContext;
  readonly #entry: JournalEntry;
  #state: State = WAITING;
  readonly #place: OrderPlace;
  #dependencies: readonly Dependency[];
  #timer: NodeJS.Timeout | undefined;
  /** Undefined as long as there are none. */
  #changes: ChangeQueue | undefined;
  /** It was its turn during a change: it starts after that one, however many come behind. */
  #dueInChange = false;
  /** The callbacks of {@link whenLeft}. */
  readonly #waiting = new Slots<() => void>();

  constructor(
    transfer: Transfer,
    context: TransferContext,
    { reruns, dependencies = [] }: ActiveOptions = {},
  ) {
    this.transfer = transfer;
    this.#context = context;
    this.#entry = new JournalEntry(transfer, context.journal, reruns);
    this.#dependencies = dependencies;
    this.#place = new OrderPlace(transfer, context.queue);
    transfer.place = this.#place;
  }

  /** While it is on its way into the journal, and may yet fail to get there. */
  get journaling(): Promise<void> | undefined {
    return this.#entry.arriving;
  }

  /** While it is on its way into the journal, before it may start. */
  get accepting(): Promise<void> | undefined {
    return this.#state.is === 'accepting' ? this.journaling : undefined;
  }

  /** Its place in the order; undefined if it has none yet. */
  get ticket(): Ticket<Work> | undefined {
    return this.#place.ticket;
  }

  /** Those that it depends on, that had not succeeded when it was accepted. */
  get dependencies(): readonly Dependency[] {
    return this.#dependencies;
  }

  /**
   * Calls back once the transfer has ended, or once this daemon has left it to the next one.
   *
   * @returns cancels that
   */
  whenLeft(done: () => void): () => void {
    const number = this.#waiting.add(done);
    return () => this.#waiting.remove(number);
  }

  /**
   * Gives it its place in the order; it may start, and end, before this returns.
   *
   * @param after the places of those that it depends on
   */
  place(after: readonly Ticket<Work>[]): void {
    const { plan } = this.transfer;
    if (!plan.flush && plan.operation !== 'compare') this.#context.unflushed.add(plan.destination);
    this.#place.take(
      after,
      !this.#entry.absent || this.#state.is === 'accepting',
      () => this.#turn(),
      () => this.#entry.unsettleSource(),
    );
  }

  /** Gives it its place in the order; it does not start before {@link acceptTogether} has decided. */
  placeAccepting(after: readonly Ticket<Work>[]): void {
    this.#state = { is: 'accepting', due: false };
    this.place(after);
  }

  /** Gives one of an earlier daemon its place in the order; it does not start before {@link rerun}. */
  hold(after: readonly Ticket<Work>[]): void {
    this.#state = { is: 'held', due: false };
    this.place(after);
  }

  /** Learns what it depends on, or how that stands. */
  dependOn(dependencies: readonly Dependency[]): void {
    this.#dependencies = dependencies;
  }

  /** Ends it if it must not run, for what has become of those that it depends on. */
  checkDependencies(): void {
    const problem = dependencyProblem(this.#dependencies);
    if (problem !== undefined) this.stop(problem);
  }

  /** Says in the journal which of those that it depends on have succeeded: one of them is forgotten. */
  noteDependencies(): void {
    this.#entry.noteDependencies(this.#dependencies);
  }

  /** Lets one that is held start as soon as its turn comes. */
  rerun(): void {
    if (this.#state.is === 'held') this.#letStart();
  }

  /** Stops it once its time is up, if its client has set one. */
  limitTime(): void {
    const { settings, ageMs } = this.transfer;
    const { timeoutMs } = settings;
    clearTimeout(this.#timer);
    if (timeoutMs === undefined || this.#stopped) return;
    this.#timer = setTimeout(
      () => {
        const detail = `It did not end within ${timeoutMs} ms of its acceptance.`;
        this.stop(new Problem('timeout', detail));
      },
      Math.max(0, timeoutMs - ageMs),
    );
  }

  /**
   * Changes its settings, as a whole or not at all: one change after the other, each once it is in
   * the journal where the transfer is.
   *
   * @returns whether it did; false: it has stopped
   * @throws Problem not_changeable for the priority of one that runs; what the journal refuses with,
   *   or what is wrong with the patch; OutcomeUnknown if it is not decided in time
   */
  change(patch: TransferPatch): Promise<boolean> {
    this.#changes ??= new ChangeQueue();
    return this.#changes.run(() => this.#change(patch));
  }

  async #change(patch: TransferPatch): Promise<boolean> {
    const { transfer } = this;
    try {
      await this.journaling;
    } catch (error) {
      // Refused, it goes on without the journal.
      const { message } = error as Error;
      if (error instanceof OutcomeUnknown) throw retryLater('journal_unavailable', message);
    }
    if (this.#stopped) return false;
    if (patch.priority !== undefined && (this.#dueInChange || transfer.status === 'running')) {
      throw new Problem(
        'not_changeable',
        'It runs, or is about to: its priority cannot be changed now.',
      );
    }
    const settings = patched(transfer.settings, patch);
    const change = { number: (transfer.change?.number ?? 0) + 1, settings };
    const apply = () => {
      transfer.change = change;
      if (patch.timeout_ms !== undefined) this.#newTimeout();
      this.#place.move();
    };
    if (this.#entry.present) await this.#entry.change(change, apply);
    else apply();
    return true;
  }

  #newTimeout(): void {
    this.limitTime();
    if (this.#state.is === 'running') this.#state.run.limitTime();
  }

  /** Ends one that is held, for it must not run again. */
  interruptHeld(reason: string): void {
    if (this.#state.is === 'held') this.stop(rerunProblem(reason));
  }

  /** Puts it into the journal, wherever it is on its way. @throws as {@link acceptTogether} */
  async keep(): Promise<void> {
    if (this.#entry.absent && this.#state.is !== 'left') {
      await acceptTogether([this], this.#context.journal);
    } else {
      await this.journaling;
    }
  }

  /** Has it end for that reason, unless it ends for another one. */
  stop(reason: StopReason): void {
    const state = this.#state;
    if (state.is === 'running') {
      this.#state = { is: 'stopping', reason };
      state.run.cancel();
    } else if (state.is === 'held' || state.is === 'waiting' || state.is === 'starting') {
      if (reason === 'suspended') this.#suspend();
      else this.#end(undefined, reason);
    }
  }

  /** Stops it for the daemon's end, and leaves it to the next one if that can run it again. */
  interrupt(): void {
    if (this.#state.is === 'accepting') {
      // It is undecided: what the next daemon finds on the disk decides.
      this.#leave();
      this.#place.release();
      return;
    }
    // Nothing was lost, unless it has written where it reads.
    const again =
      !this.#entry.absent && !(this.#state.is === 'running' && touchesItself(this.transfer.plan));
    const reason = 'The daemon shut down before the transfer ended: send it again.';
    this.stop(again ? 'suspended' : retryLater('interrupted', reason));
  }

  /** It goes into the journal: see {@link Entrant}. */
  enterJournal(answer: Promise<void>): Rows {
    const dependencies = this.#dependencies;
    const running = this.#state.is === 'running';
    this.transfer.acknowledged = true;
    this.#context.keep(dependencies);
    const unsettled = !running && this.#place.readsTransient;
    const source = sourceStateOf(this.transfer.plan, unsettled, this.#context);
    return this.#entry.arrive(answer, { source, running, dependencies });
  }

  /** The journal has it, be that after its answer has been rejected. */
  enteredJournal(): void {
    this.#entry.arrived();
    this.#place.keep();
    if (this.#state.is !== 'accepting') return;
    this.#context.accepted(this);
    this.#letStart();
  }

  /** The journal has refused it. */
  refusedByJournal(): void {
    this.#entry.refused();
    if (this.#state.is !== 'accepting') {
      this.transfer.acknowledged = false;
      return;
    }
    this.#leave();
    this.#place.release();
  }

  #startAfter(wait: Promise<boolean>): void {
    this.#state = STARTING;
    void wait.then((may) => {
      if (this.#state.is !== 'starting') return;
      this.#state = WAITING;
      // The daemon shuts down.
      if (!may) this.interrupt();
      // It may have to be kept by now.
      else if (this.#entry.absent) this.#submit();
      else this.#turn();
    });
  }

  #letStart(): void {
    const due = (this.#state.is === 'accepting' || this.#state.is === 'held') && this.#state.due;
    this.#state = WAITING;
    this.checkDependencies();
    if (due) this.#turn();
  }

  /** Its turn has come. */
  #turn(): void {
    if (this.#state.is === 'accepting' || this.#state.is === 'held') this.#state.due = true;
    // One that was told to stop keeps its place until its end is in the journal.
    if (this.#state.is !== 'waiting' || this.#context.interrupting) return;
    if (this.#entry.mustRecordBegin) {
      this.#startAfter(this.#entry.begin());
      return;
    }
    if (this.#place.readsTransient) this.#entry.settleSource();
    // While it is on its way into the journal, a crash may yet forget it.
    const mayBegin = this.#entry.present ? undefined : this.#place.begin();
    if (mayBegin === undefined) this.#submit();
    else this.#startAfter(mayBegin);
  }

  #submit(): void {
    const changing = this.#changes?.pending;
    if (changing !== undefined && !this.#dueInChange) {
      // It is to run with what it has then.
      this.#dueInChange = true;
      this.#startAfter(changing.then(() => true));
      return;
    }
    const { transfer } = this;
    const { chooser, feed } = this.#context;
    const wrong =
      dependencyProblem(this.#dependencies) ?? whyGone(transfer.plan) ?? this.#place.problem;
    if (wrong !== undefined) {
      this.#end(undefined, wrong);
      return;
    }
    const mayWrite = this.#mayWrite();
    if (mayWrite !== undefined) {
      this.#startAfter(mayWrite);
      return;
    }
    try {
      transfer.start(chooser.choose(transfer.plan));
    } catch (error) {
      // There was one when it was accepted.
      const { message } = error as Problem;
      this.#end(undefined, new Problem('dma_error', message));
      return;
    }
    feed.publish('status', transfer);
    const run = new Run(transfer, this.#context);
    // Small ones end within submit().
    this.#state = { is: 'running', run };
    run.submit((result) => this.#ran(result));
  }

  #ran(result: RunResult): void {
    const { problem } = result;
    if (problem?.code !== 'cancelled' || this.#state.is !== 'stopping') this.#end(result, problem);
    else if (this.#state.reason === 'suspended') this.#suspend();
    else this.#end(result, this.#state.reason);
  }

  /**
   * It has stopped. What is in the journal ends once its end is there too, and keeps its place in
   * the order until then: see recovery.ts.
   */
  #end(result: RunResult | undefined, error: Problem | undefined): void {
    const outcome = this.transfer.outcome(result?.completion, error, result?.channels);
    this.#state = ENDING;
    clearTimeout(this.#timer);
    if (this.#entry.absent) this.#finish(outcome);
    else void this.#endKept(outcome);
  }

  async #endKept(outcome: Outcome): Promise<void> {
    try {
      await this.journaling;
    } catch (error) {
      if (!(error instanceof OutcomeUnknown)) {
        this.#finish(outcome);
        return;
      }
    }
    await this.#changes?.pending;
    if (await this.#entry.end(outcome)) this.#finish(outcome);
    else this.#suspend();
  }

  #finish(outcome: Outcome): void {
    const { transfer } = this;
    const { archive, feed } = this.#context;
    transfer.finish(outcome);
    if (this.#entry.absent) archive.add(transfer.id);
    this.#leave();
    reportEnd(this.#context, transfer);
    feed.publish('status', transfer);
    this.#context.finished(transfer);
    this.#tellWritten();
    this.#place.release();
  }

  /** @returns whether it may write, later; undefined: it may now */
  #mayWrite(): Promise<boolean> | undefined {
    if (this.transfer.plan.operation !== 'copy') return undefined;
    const waits = () => this.#state.is === 'starting';
    return this.#context.beforeWrite(writingOf(this.transfer), waits)?.then(
      () => true,
      (problem) => {
        this.stop(problem);
        return false;
      },
    );
  }

  #tellWritten(): void {
    const { status, plan } = this.transfer;
    if (status !== 'succeeded' || plan.operation === 'compare') return;
    this.#context.written(writingOf(this.transfer));
  }

  /** This daemon leaves it to the next one. */
  #suspend(): void {
    const { is } = this.#state;
    clearTimeout(this.#timer);
    this.#entry.takeBackBegin(is !== 'held' && is !== 'waiting' && is !== 'starting');
    this.transfer.suspend();
    this.#leave();
    this.#context.feed.publish('status', this.transfer);
    this.#place.release();
  }

  get #stopped(): boolean {
    return this.#state.is === 'ending' || this.#state.is === 'left';
  }

  #leave(): void {
    this.#state = LEFT;
    this.transfer.place = undefined;
    this.#context.left(this);
    for (const done of this.#waiting) done();
  }
}
