// SPDX-License-Identifier: Apache-2.0
import { Problem } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import type { Ticket } from '../order/scheduler.ts';
import type { Work } from '../order/work.ts';
import { REPLICATION_LANE } from '../order/work-lanes.ts';
import { ChangeQueue } from '../transfers/changes.ts';
import type { Dependencies } from './dependencies.ts';
import { ProgressReports } from './progress-reports.ts';
import { patched, type Replication } from './replication.ts';
import { acceptedRows, changedRows, endedRows, progressRows } from './rows.ts';
import { RunningReplication, type StopReason } from './running.ts';
import type { ReplicationPatch, ReplicationWait } from './schema.ts';

type State =
  /**
   * Its rows are being written, and it may still be refused. `due`: its turn has come meanwhile;
   * `stop`: why it ends as soon as it is accepted.
   */
  | { is: 'accepting'; due: boolean; stop?: Problem }
  /** An earlier daemon accepted it; whether it may go on is not known yet. */
  | { is: 'held'; due: boolean }
  /** Until its turn comes. */
  | { is: 'waiting' }
  | { is: 'running'; running: RunningReplication }
  | { is: 'stopping' }
  /** It has stopped, and keeps its place in the order until its end is on disk. */
  | { is: 'ending' }
  /** It has finished, or is left to the next daemon. */
  | { is: 'left' };

/** An unfinished replication: waits for its turn, runs, and ends. The journal has it from the start. */
export class ActiveReplication {
  readonly replication: Replication;
  readonly #dependencies: Dependencies;
  readonly #device: Device;
  #state: State = { is: 'waiting' };
  readonly #waiting = new Set<() => void>();
  #ticket: Ticket<Work> | undefined;
  #journaling: Promise<void> | undefined;
  #timeout: NodeJS.Timeout | undefined;
  readonly #reports: ProgressReports;
  readonly #changes = new ChangeQueue();

  /** @param device as it is now */
  constructor(replication: Replication, device: Device, dependencies: Dependencies) {
    this.replication = replication;
    this.#device = device;
    this.#dependencies = dependencies;
    this.#reports = new ProgressReports(
      () => dependencies.journal.writeSoon(progressRows(replication)),
      () => dependencies.changed('progress', replication),
    );
    replication.waitingFor = () => this.#waitingFor();
  }

  /**
   * Puts it into the journal and gives it its place in the order; it starts when the journal has it.
   *
   * @throws Problem if it is refused; OutcomeUnknown if that is not decided in time
   */
  accept(): Promise<void> {
    this.#state = { is: 'accepting', due: false };
    this.#place();
    this.#journaling = this.#enterJournal();
    return this.#journaling;
  }

  /** While it is not decided whether it is accepted: settles as {@link accept} does. */
  get accepting(): Promise<void> | undefined {
    return this.#state.is === 'accepting' ? this.#journaling : undefined;
  }

  async #enterJournal(): Promise<void> {
    try {
      const { journal } = this.#dependencies;
      await journal.acceptThen(acceptedRows(this.replication), () => this.#enter());
    } catch (error) {
      // What is undecided keeps its place.
      if (error instanceof Problem) {
        this.#leave();
        this.#release();
      }
      throw error;
    }
  }

  /** Calls back once it has finished, is left to the next daemon, or is refused. @returns a function that unsubscribes */
  onLeft(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  /** Gives a replication of an earlier daemon its place in the order; it does not start before {@link resume}. */
  hold(): void {
    this.#state = { is: 'held', due: false };
    this.#place();
    this.#limitTime();
  }

  /** If it is held, lets it start as soon as its turn comes. */
  resume(): void {
    if (this.#state.is === 'held') this.#letStart();
  }

  /** If it is held, ends it, because it must not go on. */
  interruptHeld(why: string): void {
    if (this.#state.is !== 'held') return;
    const detail = `The daemon ended before the replication did, and it cannot go on: ${why}. Send it again.`;
    this.stop(new Problem('interrupted', detail));
  }

  /** Ends it for a reason, unless it is ending already. */
  stop(reason: StopReason): void {
    const state = this.#state;
    if (state.is === 'running') {
      this.#state = { is: 'stopping' };
      state.running.stop(reason);
    } else if (state.is === 'held' || state.is === 'waiting') {
      if (reason === 'suspended') this.#suspend();
      else void this.#end(reason);
    } else if (state.is === 'accepting') {
      // It is undecided: what the next daemon finds on the disk decides.
      if (reason === 'suspended') {
        this.#leave();
        this.#release();
      } else state.stop ??= reason;
    }
  }

  /**
   * Changes its settings, as a whole or not at all, once that is in the journal.
   *
   * @returns whether the settings were changed; false if it has stopped
   * @throws Problem what the journal refuses with, or what is wrong with the patch; OutcomeUnknown
   */
  change(patch: ReplicationPatch): Promise<boolean> {
    return this.#changes.run(() => this.#change(patch));
  }

  async #change(patch: ReplicationPatch): Promise<boolean> {
    const { replication } = this;
    const { journal } = this.#dependencies;
    if (this.#stopped) return false;
    const settings = patched(replication.settings, patch);
    const number = replication.changes + 1;
    const rows = changedRows(replication, number, settings);
    await journal.acceptThen(rows, () => {
      if (replication.finished) {
        // It was not known in time that the disk has it, and the replication has ended without it.
        journal.remove(rows.keys());
        return;
      }
      replication.settings = settings;
      replication.changes = number;
      const state = this.#state;
      if (state.is === 'running') state.running.bytesPerSecond = settings.bytes_per_second;
      this.#limitTime();
    });
    return true;
  }

  #place(): void {
    const { id, origin, request } = this.replication;
    const { queue } = this.#dependencies;
    const { dst_offset: offset, size } = request;
    this.#ticket = queue.add({
      ...{ kind: 'replication', id, client: origin.client },
      start: () => this.#turn(),
      accesses: [{ device: this.#device.handle, offset, size, write: true }],
      lane: REPLICATION_LANE,
      // Its bytes are paid for as they arrive.
      bytes: 0,
      kept: true,
    });
  }

  /** The journal has it now, perhaps after its client was answered that the outcome is unknown. */
  #enter(): void {
    if (this.#state.is !== 'accepting') return;
    const { stop } = this.#state;
    if (stop !== undefined) {
      void this.#end(stop);
      return;
    }
    this.#limitTime();
    this.#dependencies.changed('status', this.replication);
    this.#letStart();
  }

  #letStart(): void {
    const due = (this.#state.is === 'accepting' || this.#state.is === 'held') && this.#state.due;
    this.#state = { is: 'waiting' };
    if (due) this.#turn();
  }

  /** Its turn has come. */
  #turn(): void {
    if (this.#state.is === 'accepting' || this.#state.is === 'held') this.#state.due = true;
    if (this.#state.is !== 'waiting' || this.#dependencies.interrupting) return;
    const { replication } = this;
    const running = new RunningReplication(replication, this.#device, this.#dependencies, () =>
      this.#reports.note(),
    );
    this.#state = { is: 'running', running };
    replication.start();
    this.#dependencies.changed('status', replication);
    void this.#see(running);
  }

  async #see(running: RunningReplication): Promise<void> {
    const reason = await running.run();
    if (reason === 'suspended') this.#suspend();
    else await this.#end(reason);
  }

  async #end(error: Problem | undefined): Promise<void> {
    const { replication } = this;
    const { journal } = this.#dependencies;
    this.#state = { is: 'ending' };
    this.#stopTimers();
    await this.#changes.pending;
    const outcome = replication.end(error);
    if (!(await journal.record(endedRows(replication, outcome)))) {
      this.#suspend();
      return;
    }
    replication.finish(outcome);
    replication.progress.copied.forget();
    this.#leave();
    this.#report();
    this.#release();
  }

  #report(): void {
    const { replication } = this;
    const { log, observer, changed } = this.#dependencies;
    const { id, origin, request, progress, outcome } = replication;
    observer.finished(replication);
    log.info(
      {
        ...{ replication: id, client: origin.client, ...origin.trace, peer: request.peer },
        ...{ status: replication.status, consistency: progress.consistency },
        ...{ bytes_on_wire: progress.bytesOnWire, round: progress.round },
        ...{ code: outcome?.error?.code, detail: outcome?.error?.message },
      },
      'replication finished',
    );
    changed('status', replication);
  }

  /** Leaves it to the next daemon. */
  #suspend(): void {
    const { replication } = this;
    const { journal, changed } = this.#dependencies;
    this.#stopTimers();
    journal.writeSoon(progressRows(replication));
    replication.suspend();
    this.#leave();
    changed('status', replication);
    this.#release();
  }

  #limitTime(): void {
    const { settings, ageMs } = this.replication;
    const { timeout_ms: timeoutMs } = settings;
    clearTimeout(this.#timeout);
    if (timeoutMs === undefined || this.#stopped) return;
    this.#timeout = setTimeout(
      () => this.stop(this.#timeoutProblem(timeoutMs)),
      Math.max(0, timeoutMs - ageMs),
    );
  }

  #timeoutProblem(timeoutMs: number): Problem {
    const away = this.#state.is === 'running' ? this.#state.running.away : undefined;
    if (away === undefined) {
      return new Problem('timeout', `It did not end within ${timeoutMs} ms of its acceptance.`);
    }
    const since = new Date(away.sinceMs).toISOString();
    const detail = `The peer ${this.replication.request.peer} has not answered since ${since}, and timeout_ms (${timeoutMs}) has passed: ${away.why}`;
    return new Problem('peer_unreachable', detail);
  }

  #stopTimers(): void {
    clearTimeout(this.#timeout);
    this.#reports.stop();
  }

  get #stopped(): boolean {
    return ['stopping', 'ending', 'left'].includes(this.#state.is);
  }

  #waitingFor(): ReplicationWait | undefined {
    const state = this.#state;
    if (state.is === 'running') {
      const { away } = state.running;
      const since = away && new Date(away.sinceMs).toISOString();
      return away && { reason: 'peer', since, why: away.why };
    }
    if (this.#stopped || this.#ticket === undefined) return undefined;
    return this.#dependencies.queue.waitOf(this.#ticket) ?? { reason: 'journal' };
  }

  /** This daemon is done with it; it keeps its place in the order until {@link #release}. */
  #leave(): void {
    this.#state = { is: 'left' };
    this.replication.waitingFor = undefined;
    this.#stopTimers();
    this.#dependencies.left(this.replication);
    for (const callback of [...this.#waiting]) callback();
  }

  /** Gives up its place in the order, so that what waits for it starts. Call it once its end is published. */
  #release(): void {
    if (this.#ticket !== undefined) this.#dependencies.queue.release(this.#ticket);
  }
}
