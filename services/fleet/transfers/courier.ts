// SPDX-License-Identifier: Apache-2.0
import { type DmadClient, DmadError } from '../../client/node.ts';
import type { TransferDocument } from '../../daemon/transfers/schema.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Running } from '../etcd/mirror.ts';
import { Backoff } from './backoff.ts';
import { endByFleet, endByHost } from './document.ts';
import type { OwnerWrites } from './owner-writes.ts';
import type { EndedRecord, RunningRecord } from './record.ts';
import { describeRefusal, isRefusal, neverArrived, refusalOf } from './refusal.ts';
import { isEnd } from './schema.ts';

/** Hosts forget keys 24 h after an end: by then it must be certain that nothing is sent again. */
export const HAND_OVER_WITHIN_MS = 20 * 3600 * 1000;
const MAX_BATCH = 100;
/** A daemon takes bodies of up to 1 MiB; one that is larger than this goes alone. */
const MAX_BATCH_BYTES = 2 ** 18;
const CALL_MS = 15_000;
/** How long a host may be silent about a transfer before it is asked. */
const SILENCE_MS = 30_000;
const CHECK_MS = 2000;
const CHECKS_AT_ONCE = 8;
const NEVER = Number.NEGATIVE_INFINITY;

/** Where one transfer is on its way. */
interface Task {
  record: RunningRecord;
  stage: /** Waits for its turn, or for its host. */
    | 'waiting'
    /** Waits for other transfers' ends. */
    | 'held'
    /** The host has it. */
    | 'handed_over'
    /** Its end is being written. */
    | 'ending';
  /** The host may have it, though it has not said so. */
  attempted: boolean;
  cancel: boolean;
  cancelling: boolean;
  /** Since when this gateway has it, by performance.now(). */
  since: number;
  /** When the host last told of it, by performance.now(). */
  toldAt: number;
}

export interface CourierOptions {
  host: string;
  /** Of the host's daemon; undefined once the host is removed. */
  client(): DmadClient | undefined;
  writes: OwnerWrites;
  /** Whether this gateway can still own the host: once it cannot, nothing is sent. */
  owned(): boolean;
  /** How it stands by what the host told last, if that is known. */
  live(id: string): TransferDocument | undefined;
  /** The host has told how a transfer stands, under its own id. */
  handedOver(record: RunningRecord, told: TransferDocument): void;
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
  /** Those that wait for their turn, in the order of acceptance. */
  readonly #queue = new Set<Task>();
  /** Those that the host is being asked to take. */
  #sending: ReadonlySet<Task> = new Set();
  readonly #stopping = new AbortController();
  readonly #backoff = new Backoff();
  readonly #timer: NodeJS.Timeout;
  /** The handing over that is under way. */
  #handing: Promise<void> | undefined;
  #finishing = false;
  #checking = false;
  /** Why the host took nothing the last time; undefined if it did. */
  trouble: string | undefined;

  constructor(options: CourierOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#check(), CHECK_MS);
  }

  get size(): number {
    return this.#tasks.size;
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
      ...{ record, stage, attempted: !fresh, cancel: false, cancelling: false },
      ...{ since: performance.now(), toldAt: NEVER },
    };
    this.#tasks.set(id, task);
    if (stage === 'waiting') this.#queue.add(task);
    const live = this.#options.live(id);
    if (live !== undefined) this.told(id, live);
    if (stage === 'held') void this.#hold(task);
    this.#handOver();
  }

  cancel(id: string): void {
    const task = this.#tasks.get(id);
    if (task === undefined || task.cancel) return;
    task.cancel = true;
    const withHost = task.stage === 'handed_over' || task.attempted;
    if (task.stage === 'handed_over') void this.#cancelAtHost(task);
    else if (!withHost && task.stage !== 'ending') this.#endAsCancelled(task);
  }

  /** The host has told how a transfer stands. */
  told(id: string, document: TransferDocument): void {
    const task = this.#tasks.get(id);
    if (task === undefined || task.stage !== 'handed_over') return;
    task.toldAt = performance.now();
    if (isEnd(document.status)) this.#end(task, endByHost(task.record, document));
  }

  /** Events may have been missed: all that the host has is asked for. */
  missed(): void {
    for (const task of this.#tasks.values()) task.toldAt = NEVER;
  }

  /** The host can be reached again. */
  wake(): void {
    this.#backoff.wake();
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
    this.#backoff.wake();
  }

  /** Hands over nothing more. Resolves once the host has answered what it was sent. */
  async finish(): Promise<void> {
    this.#finishing = true;
    this.#backoff.wake();
    await this.#handing;
  }

  get #mayHandOver(): boolean {
    return !this.#stopped && !this.#finishing && this.#options.owned();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Hands over whatever waits, one request at a time, so that the order is kept. */
  #handOver(): void {
    this.#handing ??= this.#handOverAll();
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
        await this.#backoff.wait(this.#stopping.signal);
      }
    }
    // In the same turn, so that what is added from now on begins it again.
    this.#handing = undefined;
  }

  #nextGroup(): Task[] {
    const group: Task[] = [];
    let bytes = 0;
    for (const task of this.#queue) {
      bytes += weightOf(task.record);
      if (group.length > 0 && bytes > MAX_BATCH_BYTES) break;
      group.push(task);
      if (group.length === MAX_BATCH) break;
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
      if (task.cancel) this.#endAsCancelled(task);
    }
  }

  async #request(group: readonly Task[]): Promise<void> {
    const [first] = group;
    if (group.length === 1 && first !== undefined) return this.#sendOne(first);
    const requests = group.map(({ record }) => ({
      ...bodyOf(record),
      idempotency_key: record.id,
    }));
    try {
      const told = await this.#client.createTransfers(requests, this.#call);
      for (const [index, task] of group.entries()) {
        this.#handedOver(task, told[index] as TransferDocument);
      }
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // One of them: the host took none.
      for (const task of group) await this.#sendOne(task);
    }
  }

  async #sendOne(task: Task): Promise<void> {
    if (task.stage !== 'waiting' || !this.#mayHandOver) return;
    const { record } = task;
    const options = { ...this.#call, waitSeconds: 0, idempotencyKey: record.id };
    try {
      const told = await this.#client.createTransfer(bodyOf(record), options);
      this.#handedOver(task, told as TransferDocument);
    } catch (error) {
      // It is an earlier one's, which has ended.
      if (error instanceof DmadError && error.transfer !== undefined) {
        this.#handedOver(task, error.transfer as TransferDocument);
      } else if (isRefusal(error)) {
        const end = endByFleet(record, undefined, 'failed', refusalOf(error), { refused: true });
        this.#end(task, end);
      } else {
        throw error;
      }
    }
  }

  #handedOver(task: Task, told: TransferDocument): void {
    if (task.stage !== 'waiting') return;
    const record: RunningRecord = {
      ...task.record,
      progress: { is: 'handed_over', hostId: told.id },
    };
    task.record = record;
    this.#move(task, 'handed_over');
    task.toldAt = performance.now();
    this.#options.handedOver(record, told);
    // Its end stands in for this, if it is there already.
    if (!isEnd(told.status)) void this.#confirmHandOver(task, record);
    this.told(record.id, told);
    // What the host told while its answer was on its way.
    const live = this.#options.live(record.id);
    if (live !== undefined) this.told(record.id, live);
    if (task.cancel) void this.#cancelAtHost(task);
  }

  #end(task: Task, end: EndedRecord): void {
    if (task.stage === 'ending') return;
    this.#move(task, 'ending');
    void this.#confirmEnd(task, end);
  }

  async #confirmHandOver(task: Task, record: RunningRecord): Promise<void> {
    const written = await this.#options.writes.handedOver(record);
    // One that has ended meanwhile is not there to be changed.
    if (!written && task.stage === 'handed_over') this.#options.lost();
  }

  async #confirmEnd(task: Task, end: EndedRecord): Promise<void> {
    if (!(await this.#options.writes.ended(task.record, end))) this.#options.lost();
  }

  #move(task: Task, stage: Task['stage']): void {
    task.stage = stage;
    if (stage === 'waiting') this.#queue.add(task);
    else this.#queue.delete(task);
  }

  #endAsCancelled(task: Task): void {
    const problem = new Problem(
      'cancelled',
      'The transfer was cancelled before it was handed over.',
    );
    this.#end(task, endByFleet(task.record, undefined, 'cancelled', problem));
  }

  /** Ends what has waited for too long. */
  #expire(): void {
    const now = Date.now();
    const monotonic = performance.now();
    for (const task of this.#tasks.values()) {
      const { stage, attempted, record } = task;
      if ((stage !== 'waiting' && stage !== 'held') || this.#sending.has(task)) continue;
      // The clock of the gateway that accepted it may be ahead.
      const waited = Math.max(now - record.acceptedAt, monotonic - task.since);
      const timeout = record.request.timeout_ms;
      if (waited > HAND_OVER_WITHIN_MS) {
        const detail = `Host ${record.host} did not take the transfer within 20 h; last: ${this.trouble}`;
        this.#end(task, endByFleet(record, undefined, 'failed', new Problem('expired', detail)));
      } else if (timeout !== undefined && waited > timeout && !attempted) {
        const detail = `The transfer did not start within its timeout of ${timeout} ms.`;
        this.#end(task, endByFleet(record, undefined, 'failed', new Problem('timeout', detail)));
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
      const problem = new Problem('dependency_failed', detail);
      this.#end(task, endByFleet(task.record, undefined, 'failed', problem));
      return;
    }
    this.#move(task, 'waiting');
    this.#handOver();
  }

  async #cancelAtHost(task: Task): Promise<void> {
    const { record } = task;
    if (task.cancelling || record.progress.is !== 'handed_over') return;
    task.cancelling = true;
    const { hostId } = record.progress;
    const backoff = new Backoff();
    while (!this.#stopped && task.stage === 'handed_over') {
      try {
        this.told(
          record.id,
          (await this.#client.cancelTransfer(hostId, this.#call)) as TransferDocument,
        );
      } catch (error) {
        // It ended meanwhile, or the host does not know it: asking tells.
        if (saysOneOf(error, ['not_found', 'not_cancellable'])) await this.#ask(task);
      }
      await backoff.wait(this.#stopping.signal);
    }
  }

  /** Asks for those of which the host has not told anything for a while. */
  async #check(): Promise<void> {
    this.#expire();
    if (this.#checking || this.#stopped) return;
    this.#checking = true;
    const silentSince = performance.now() - SILENCE_MS;
    const silent: Task[] = [];
    for (const task of this.#tasks.values()) {
      if (task.stage === 'handed_over' && task.toldAt < silentSince) silent.push(task);
    }
    const next = silent.values();
    const ask = async () => {
      for (const task of next) {
        if (this.#stopped || !(await this.#ask(task))) return;
      }
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, ask));
    this.#checking = false;
  }

  /** @returns whether the host answered */
  async #ask(task: Task): Promise<boolean> {
    const { record } = task;
    if (task.stage !== 'handed_over' || record.progress.is !== 'handed_over') return true;
    try {
      const told = (await this.#client.getTransfer(
        record.progress.hostId,
        this.#call,
      )) as TransferDocument;
      this.#options.handedOver(record, told);
      this.told(record.id, told);
      return true;
    } catch (error) {
      // A 404 that is not the daemon's, such as a proxy's, says nothing of the transfer.
      if (!saysOneOf(error, ['not_found'])) return false;
      const detail = `Host ${record.host} does not know the transfer any more, so how it ended is not known.`;
      const end = endByFleet(
        record,
        this.#options.live(record.id),
        'interrupted',
        new Problem('interrupted', detail),
      );
      this.#end(task, end);
      return true;
    }
  }

  get #client(): DmadClient {
    const client = this.#options.client();
    if (client === undefined) throw new Error('the host was removed');
    return client;
  }

  get #call() {
    return { deadlineMs: CALL_MS, retryForMs: 0, signal: this.#stopping.signal };
  }
}

/** What the host is asked to do: the same however often it is sent. */
function bodyOf({ request }: RunningRecord) {
  const { host: _, depends_on: _dependencies, dry_run: _dryRun, ...body } = request;
  return body;
}

function saysOneOf(error: unknown, codes: readonly DmadError['code'][]): boolean {
  return error instanceof DmadError && codes.includes(error.code);
}

function weightOf({ request }: RunningRecord): number {
  return 500 + (request.segments?.length ?? 0) * 60;
}
