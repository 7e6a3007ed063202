// SPDX-License-Identifier: Apache-2.0
import type { CallOptions, DmadClient } from '../../client/node.ts';
import type { Problem } from '../../http/problems/problem.ts';
import { createAllAtHost, createAtHost, withdrawAtHost } from './at-host.ts';
import { Backoff } from './backoff.ts';
import type { RunningRecord } from './record.ts';
import { describeRefusal, isRefusal, neverArrived, refusalOf } from './refusal.ts';
import { type HostReport, isReplication } from './schema.ts';
import type { Task } from './task.ts';

const MAX_BATCH = 100;
/** A daemon takes bodies of up to 1 MiB; one that is larger than this goes alone. */
const MAX_BATCH_BYTES = 2 ** 18;

export interface HandOverOptions {
  client(): DmadClient;
  call: CallOptions & { signal: AbortSignal };
  /** Whether this gateway can still own the host: once it cannot, nothing is sent. */
  owned(): boolean;
  /** The host has it. */
  taken(task: Task, reported: HostReport): void;
  /** The host does not take it. */
  refused(task: Task, problem: Problem): void;
  /** It was cancelled, and the host does not have it and never will. */
  withdrawn(task: Task): void;
}

/** Hands one host its transfers in order, one request at a time. */
export class HandOver {
  readonly #options: HandOverOptions;
  /** Those that wait for their turn, in the order of acceptance. */
  readonly #queue = new Set<Task>();
  /** Those that the host is being asked to take. */
  #sending: ReadonlySet<Task> = new Set();
  readonly #backoff = new Backoff();
  /** What is under way. */
  #handing: Promise<void> | undefined;
  #finishing = false;
  /** Why the host took nothing the last time; undefined if it did. */
  trouble: string | undefined;

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  /** To be called in the order of acceptance. */
  add(task: Task): void {
    this.#queue.add(task);
    this.#handing ??= this.#handOverAll();
  }

  remove(task: Task): void {
    this.#queue.delete(task);
  }

  /** Whether the host is being asked to take it. */
  isSending(task: Task): boolean {
    return this.#sending.has(task);
  }

  /** The host can be reached again; or nothing more is to be done. */
  wake(): void {
    this.#backoff.wake();
  }

  /** Hands over nothing more. Resolves once the host has answered what it was sent. */
  async finish(): Promise<void> {
    this.#finishing = true;
    this.#backoff.wake();
    await this.#handing;
  }

  get #mayHandOver(): boolean {
    const { call, owned } = this.#options;
    return !call.signal.aborted && !this.#finishing && owned();
  }

  async #handOverAll(): Promise<void> {
    // All that comes in the same turn goes together.
    await new Promise(setImmediate);
    while (this.#mayHandOver) {
      const group = this.#nextGroup();
      if (group.length === 0) break;
      try {
        await this.#send(group);
        this.trouble = undefined;
        this.#backoff.reset();
      } catch (error) {
        this.trouble = describeRefusal(error);
        await this.#backoff.wait(this.#options.call.signal);
      }
    }
    // In the same turn, so that what is added from now on begins it again.
    this.#handing = undefined;
  }

  #nextGroup(): Task[] {
    const group: Task[] = [];
    let bytes = 0;
    for (const task of this.#queue) {
      const alone = task.cancel || isReplication(task.record.request);
      bytes += weightOf(task.record);
      if (group.length > 0 && (alone || bytes > MAX_BATCH_BYTES)) break;
      group.push(task);
      if (alone || group.length === MAX_BATCH) break;
    }
    return group;
  }

  /** @throws DmadError if the host did not take them, for a reason that may pass */
  async #send(group: readonly Task[]): Promise<void> {
    const untried = group.filter(({ attempted }) => !attempted);
    for (const task of group) task.attempted = true;
    this.#sending = new Set(group);
    try {
      await this.#request(group);
    } catch (error) {
      if (neverArrived(error)) this.#notAttempted(untried);
      throw error;
    } finally {
      this.#sending = new Set();
    }
  }

  /** Nothing of the request has reached the host: these can be cancelled here again. */
  #notAttempted(tasks: readonly Task[]): void {
    for (const task of tasks) {
      // One that was sent alone, before the connection failed, has got through.
      if (task.stage !== 'waiting') continue;
      task.attempted = false;
      if (task.cancel) this.#options.withdrawn(task);
    }
  }

  async #request(group: readonly Task[]): Promise<void> {
    const [first] = group;
    if (group.length === 1 && first !== undefined) return this.#sendOne(first);
    const { client, call, taken } = this.#options;
    const records = group.map(({ record }) => record);
    try {
      const reported = await createAllAtHost(client(), records, call);
      for (const [index, task] of group.entries()) taken(task, reported[index] as HostReport);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // One of them: the host took none.
      for (const task of group) await this.#sendOne(task);
    }
  }

  async #sendOne(task: Task): Promise<void> {
    if (task.stage !== 'waiting' || !this.#mayHandOver) return;
    const { client, call, taken, refused, withdrawn } = this.#options;
    const { record } = task;
    try {
      if (task.cancel && (await withdrawAtHost(client(), record, call))) return withdrawn(task);
      taken(task, await createAtHost(client(), record, call));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      refused(task, refusalOf(error));
    }
  }
}

function weightOf({ request }: RunningRecord): number {
  return 500 + (request.segments?.length ?? 0) * 60;
}
