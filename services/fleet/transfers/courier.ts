// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { DmadClient } from '../../client/node.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Running } from '../etcd/fleet-state.ts';
import { endByFleet, endByHost } from './document.ts';
import { FollowUp } from './follow-up.ts';
import { HandOver } from './hand-over.ts';
import type { OwnerWrites } from './owner-writes.ts';
import type { EndedRecord, RunningRecord } from './record.ts';
import { type HostReport, isEnd } from './schema.ts';
import { type Settings, settingsOf } from './settings.ts';
import { NEVER, type Task } from './task.ts';

/** Hosts forget keys 24 h after an end: by then it must be certain that nothing is sent again. */
export const HAND_OVER_WITHIN_MS = 20 * 3600 * 1000;
const CALL_MS = 15_000;
const CHECK_MS = 2000;
/** Most transfers have ended by then. */
const CONFIRM_AFTER_MS = 50;

export interface CourierOptions {
  host: string;
  /** Of the host's daemon; undefined once the host is removed. */
  client(): DmadClient | undefined;
  writes: OwnerWrites;
  /** Whether this gateway can still own the host: once it cannot, nothing is sent. */
  owned(): boolean;
  /** How it stands by what the host reported last, if that is known. */
  live(id: string): HostReport | undefined;
  /** What a client has changed of it, and its host does not know yet. */
  settings(id: string): Settings | undefined;
  /** The host has reported how a transfer stands, under its own id. */
  handedOver(record: RunningRecord, reported: HostReport): void;
  /** Resolves with how each of these transfers ended. */
  dependencies(ids: readonly string[], signal: AbortSignal): Promise<'succeeded' | 'failed'>;
  /** It was found out that this gateway does not own the host any more. */
  lost(): void;
}

/**
 * Hands one host its transfers, in the order in which they were accepted, and sees each through to
 * its end in etcd. There is one for each host, in the gateway that owns it.
 */
export class Courier {
  readonly #options: CourierOptions;
  readonly #tasks = new Map<string, Task>();
  readonly #stopping = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #handOver: HandOver;
  readonly #followUp: FollowUp;

  constructor(options: CourierOptions) {
    this.#options = options;
    const { writes, live, settings, owned } = options;
    const client = () => this.#client;
    const call = { deadlineMs: CALL_MS, retryForMs: 0, signal: this.#stopping.signal };
    this.#handOver = new HandOver({
      ...{ client, call, owned },
      taken: (task, reported) => this.#handedOver(task, reported),
      refused: (task, problem) => this.#endByFleet(task, 'failed', problem, { refused: true }),
      withdrawn: (task) => this.#endAsCancelled(task),
    });
    this.#followUp = new FollowUp({
      ...{ client, call, tasks: this.#tasks, live, settings },
      changed: (record, applied) => writes.changed(record, applied),
      reported: (task, reported) => {
        options.handedOver(task.record, reported);
        this.reported(task.record.id, reported);
      },
      end: (task, end) => this.#end(task, end),
    });
    this.#timer = setInterval(() => {
      this.#expire();
      void this.#followUp.check();
    }, CHECK_MS);
  }

  get size(): number {
    return this.#tasks.size;
  }

  /** Why the host took nothing the last time; undefined if it did. */
  get trouble(): string | undefined {
    return this.#handOver.trouble;
  }

  /**
   * Takes charge of a transfer. To be called in the order of acceptance.
   *
   * @param fresh whether no other gateway can have handed it over
   */
  add({ record }: Running, fresh: boolean): void {
    const { id, progress, waitsFor } = record;
    if (this.#tasks.has(id)) return;
    const stage =
      progress.is === 'handed_over' ? 'handed_over' : waitsFor.length > 0 ? 'held' : 'waiting';
    const task: Task = {
      ...{ record, stage, attempted: !fresh, cancel: false },
      ...{ since: performance.now(), reportedAt: NEVER },
    };
    this.#tasks.set(id, task);
    if (stage === 'waiting') this.#handOver.add(task);
    const live = this.#options.live(id);
    if (live !== undefined) this.reported(id, live);
    if (stage === 'held') void this.#hold(task);
    if (stage === 'handed_over') this.#followUp.begin(task);
  }

  /** A client has changed something of a transfer: see {@link CourierOptions.settings}. */
  change(id: string): void {
    const task = this.#tasks.get(id);
    if (task?.stage === 'handed_over') void this.#followUp.change(task);
  }

  cancel(id: string): void {
    const task = this.#tasks.get(id);
    if (task === undefined || task.cancel) return;
    task.cancel = true;
    const withHost = task.stage === 'handed_over' || task.attempted;
    if (task.stage === 'handed_over') void this.#followUp.cancel(task);
    else if (!withHost && task.stage !== 'ending') this.#endAsCancelled(task);
    // It need not wait for other transfers' ends to be withdrawn.
    else if (task.stage === 'held') this.#move(task, 'waiting');
  }

  /** The host has reported how a transfer stands. */
  reported(id: string, document: HostReport): void {
    const task = this.#tasks.get(id);
    if (task === undefined || task.stage !== 'handed_over') return;
    task.reportedAt = performance.now();
    if (isEnd(document.status)) this.#end(task, endByHost(task.record, document));
  }

  /** Events may have been missed: all that the host has is asked for. */
  missed(): void {
    this.#followUp.missed();
  }

  /** The host can be reached again. */
  wake(): void {
    this.#handOver.wake();
  }

  /** It has ended in etcd. */
  forget(id: string): void {
    const task = this.#tasks.get(id);
    if (task !== undefined) this.#move(task, 'ending');
    this.#tasks.delete(id);
  }

  stop(): void {
    this.#stopping.abort();
    clearInterval(this.#timer);
    this.#handOver.wake();
  }

  /** Hands over nothing more. Resolves once the host has answered what it was sent. */
  finish(): Promise<void> {
    return this.#handOver.finish();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #handedOver(task: Task, reported: HostReport): void {
    if (task.stage !== 'waiting') return;
    const record: RunningRecord = {
      ...task.record,
      progress: { is: 'handed_over', hostId: reported.id },
    };
    task.record = record;
    this.#move(task, 'handed_over');
    task.reportedAt = performance.now();
    this.#options.handedOver(record, reported);
    // If the answer is its end already, what records the end records this as well.
    if (!isEnd(reported.status)) void this.#confirmHandOver(task, record);
    this.reported(record.id, reported);
    // What the host reported while its answer was on its way.
    const live = this.#options.live(record.id);
    if (live !== undefined) this.reported(record.id, live);
    this.#followUp.begin(task);
  }

  #endByFleet(
    task: Task,
    status: 'failed' | 'cancelled',
    problem: Problem,
    options?: { refused: boolean },
  ): void {
    const { record } = task;
    const settings = this.#options.settings(record.id);
    this.#end(task, endByFleet(record, { settings }, status, problem, options));
  }

  #end(task: Task, end: EndedRecord): void {
    if (task.stage === 'ending') return;
    this.#move(task, 'ending');
    void this.#confirmEnd(task, end);
  }

  /**
   * Writes that the host has it, unless it ends soon: then its end is all that is written. Until
   * then another owner would send it again, under the same key.
   */
  async #confirmHandOver(task: Task, record: RunningRecord): Promise<void> {
    await sleep(CONFIRM_AFTER_MS, undefined, { ref: false });
    if (this.#stopped || task.stage !== 'handed_over') return;
    const written = await this.#options.writes.handedOver(record);
    // One that has ended meanwhile is not there to be changed.
    if (!written && task.stage === 'handed_over') this.#options.lost();
  }

  async #confirmEnd(task: Task, end: EndedRecord): Promise<void> {
    if (!(await this.#options.writes.ended(task.record, end))) this.#options.lost();
  }

  #move(task: Task, stage: Task['stage']): void {
    task.stage = stage;
    if (stage === 'waiting') this.#handOver.add(task);
    else this.#handOver.remove(task);
  }

  #endAsCancelled(task: Task): void {
    const detail = 'The transfer was cancelled before it was handed over.';
    this.#endByFleet(task, 'cancelled', new Problem('cancelled', detail));
  }

  /** Ends what has waited for too long. */
  #expire(): void {
    const now = Date.now();
    const monotonic = performance.now();
    for (const task of this.#tasks.values()) {
      const { stage, attempted, record } = task;
      if ((stage !== 'waiting' && stage !== 'held') || this.#handOver.isSending(task)) continue;
      // The clock of the gateway that accepted it may be ahead.
      const waited = Math.max(now - record.acceptedAt, monotonic - task.since);
      const { timeout_ms: timeout } =
        this.#options.settings(record.id) ?? settingsOf(record.request);
      if (waited > HAND_OVER_WITHIN_MS) {
        const detail = `Host ${record.host} did not take the transfer within 20 h; last: ${this.trouble}`;
        this.#endByFleet(task, 'failed', new Problem('expired', detail));
      } else if (timeout !== null && waited > timeout && !attempted) {
        const detail = `The transfer did not start within its timeout of ${timeout} ms.`;
        this.#endByFleet(task, 'failed', new Problem('timeout', detail));
      }
    }
  }

  /** Keeps a transfer back until those that it depends on have succeeded. */
  async #hold(task: Task): Promise<void> {
    const { waitsFor } = task.record;
    const outcome = await this.#options
      .dependencies(waitsFor, this.#stopping.signal)
      .catch(() => undefined);
    if (task.stage !== 'held' || this.#stopped || outcome === undefined) return;
    if (outcome === 'failed') {
      const detail = 'A transfer that it depends on did not succeed, so nothing was moved.';
      this.#endByFleet(task, 'failed', new Problem('dependency_failed', detail));
      return;
    }
    this.#move(task, 'waiting');
  }

  get #client(): DmadClient {
    const client = this.#options.client();
    if (client === undefined) throw new Error('the host was removed');
    return client;
  }
}
