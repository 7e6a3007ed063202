// SPDX-License-Identifier: Apache-2.0
import { bulkhead } from 'cockatiel';
import { type CallOptions, type DmadClient, DmadError } from '../../client/node.ts';
import { Problem } from '../../http/problems/problem.ts';
import { cancelAtHost, changeAtHost, readAtHost } from './at-host.ts';
import { Backoff } from './backoff.ts';
import { endByFleet } from './document.ts';
import type { EndedRecord, RunningRecord } from './record.ts';
import { endedOf, isRefusal } from './refusal.ts';
import type { FleetTransferPatch, HostReport } from './schema.ts';
import { patchBetween, type Settings, settingsOf } from './settings.ts';
import { NEVER, type Task } from './task.ts';

/** How long a host may be silent about a transfer before it is asked. */
const SILENCE_MS = 30_000;
const CHECKS_AT_ONCE = 8;
const CALLS_AT_ONCE = 32;

export interface FollowUpOptions {
  client(): DmadClient;
  call: CallOptions & { signal: AbortSignal };
  tasks: ReadonlyMap<string, Task>;
  /** How it stands by what the host reported last, if that is known. */
  live(id: string): HostReport | undefined;
  /** What a client has changed of it, and its host does not know yet. */
  settings(id: string): Settings | undefined;
  /** The host has those settings now. @returns once etcd knows that, or this gateway is no owner */
  changed(record: RunningRecord, settings: Settings): Promise<void>;
  /** The host has reported how it stands. */
  reported(task: Task, reported: HostReport): void;
  end(task: Task, end: EndedRecord): void;
}

/** Sees what a host has through to its end: asks for it, changes it and cancels it there. */
export class FollowUp {
  readonly #options: FollowUpOptions;
  /** Of all that are cancelled or changed while a host is away, few are asked for at a time. */
  readonly #calls = bulkhead(CALLS_AT_ONCE, Number.POSITIVE_INFINITY);
  readonly #cancelling = new Set<string>();
  readonly #changing = new Set<string>();
  #checking = false;

  constructor(options: FollowUpOptions) {
    this.#options = options;
  }

  /** Events may have been missed: all that the host has is asked for. */
  missed(): void {
    for (const task of this.#options.tasks.values()) task.reportedAt = NEVER;
  }

  /** The host has it by now: what a client has asked for meanwhile is done there. */
  begin(task: Task): void {
    if (task.cancel) void this.cancel(task);
    if (this.#options.settings(task.record.id) !== undefined) void this.change(task);
  }

  async cancel(task: Task): Promise<void> {
    const { record } = task;
    await this.#once(this.#cancelling, task, async (hostId, backoff) => {
      try {
        this.#options.reported(task, await this.#at(cancelAtHost, record, hostId));
      } catch (error) {
        // It ended meanwhile, or the host does not know it: asking tells.
        if (saysOneOf(error, ['not_found', 'not_cancellable'])) await this.#ask(task);
      }
      await backoff.wait(this.#signal);
      return 'again';
    });
  }

  /**
   * Tells the host what a client has changed, until nothing is left of it. What the host refuses, being of
   * another version, stays with the fleet: it is shown, and the transfer's end has it.
   */
  async change(task: Task): Promise<void> {
    const { record } = task;
    const before = settingsOf(record.request);
    let withPriority = true;
    await this.#once(this.#changing, task, async (hostId, backoff) => {
      const settings = this.#options.settings(record.id);
      if (settings === undefined) return 'done';
      const { priority, ...others } = patchBetween(before, settings);
      const patch: FleetTransferPatch = withPriority && priority ? { ...others, priority } : others;
      try {
        if (Object.keys(patch).length > 0) {
          const { client, call, reported } = this.#options;
          const change = () => changeAtHost(client(), { record, hostId }, patch, call);
          reported(task, await this.#calls.execute(change));
        }
        await this.#options.changed(record, settings);
      } catch (error) {
        const ended = error instanceof DmadError ? endedOf(error) : undefined;
        // Its end in etcd has the change.
        if (ended !== undefined) this.#options.reported(task, ended);
        // It runs already, which a change of its priority alone is too late for.
        else if (withPriority && saysOneOf(error, ['not_changeable'])) withPriority = false;
        else if (saysOneOf(error, ['not_changeable', 'not_found'])) await this.#ask(task);
        else if (isRefusal(error) && this.#options.settings(record.id) === settings) return 'done';
      }
      // Until the watch tells that nothing is left.
      await backoff.wait(this.#signal);
      return 'again';
    });
  }

  /** Asks for those of which the host has not reported anything for a while. */
  async check(): Promise<void> {
    if (this.#checking || this.#signal.aborted) return;
    this.#checking = true;
    const silentSince = performance.now() - SILENCE_MS;
    const silent: Task[] = [];
    for (const task of this.#options.tasks.values()) {
      if (task.stage === 'handed_over' && task.reportedAt < silentSince) silent.push(task);
    }
    const next = silent.values();
    const ask = async () => {
      for (const task of next) {
        if (this.#signal.aborted || !(await this.#ask(task))) return;
      }
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, ask));
    this.#checking = false;
  }

  get #signal(): AbortSignal {
    return this.#options.call.signal;
  }

  #at(ask: typeof readAtHost, record: RunningRecord, hostId: string): Promise<HostReport> {
    const { client, call } = this.#options;
    return this.#calls.execute(() => ask(client(), { record, hostId }, call));
  }

  /** Does something until it is done, as long as the host has the transfer; not twice at a time. */
  async #once(
    busy: Set<string>,
    task: Task,
    attempt: (hostId: string, backoff: Backoff) => Promise<'done' | 'again'>,
  ): Promise<void> {
    const { id, progress } = task.record;
    if (busy.has(id) || progress.is !== 'handed_over') return;
    busy.add(id);
    const backoff = new Backoff();
    try {
      while (!this.#signal.aborted && task.stage === 'handed_over') {
        if ((await attempt(progress.hostId, backoff)) === 'done') return;
      }
    } finally {
      busy.delete(id);
    }
  }

  /** @returns whether the host answered */
  async #ask(task: Task): Promise<boolean> {
    const { record } = task;
    if (task.stage !== 'handed_over' || record.progress.is !== 'handed_over') return true;
    try {
      this.#options.reported(task, await this.#at(readAtHost, record, record.progress.hostId));
      return true;
    } catch (error) {
      // A 404 that is not the daemon's, such as a proxy's, says nothing of the transfer.
      if (!saysOneOf(error, ['not_found'])) return false;
      const detail = `Host ${record.host} does not know the transfer any more, so how it ended is not known.`;
      const live = this.#options.live(record.id);
      const problem = new Problem('interrupted', detail);
      this.#options.end(task, endByFleet(record, { live }, 'interrupted', problem));
      return true;
    }
  }
}

function saysOneOf(error: unknown, codes: readonly DmadError['code'][]): error is DmadError {
  return error instanceof DmadError && codes.includes(error.code);
}
