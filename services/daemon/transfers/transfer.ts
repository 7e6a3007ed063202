// SPDX-License-Identifier: Apache-2.0
import type { Problem } from '../../http/problems/problem.ts';
import type { TraceContext } from '../../http/trace-context.ts';
import type { Device } from '../devices/device.ts';
import type { EngineChoice } from '../engines/choice.ts';
import type { Completion } from '../engines/records.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { TransferSettings } from './changes.ts';
import { isoTime, monotonicNs, wallOffset } from './clocks.ts';
import type { Meaning } from './request.ts';
import type { End, Status, TransferDocument, WaitingFor } from './schema.ts';

/** What is to be done: a request, checked against the devices and with its engine chosen. */
export interface TransferPlan extends Meaning {
  source: Device;
  destination: Device;
  /** The sum of the segments. */
  bytes: number;
  choice: EngineChoice;
}

/** The request that made a transfer. */
export interface Origin {
  requestId: string;
  /** Whose it is, by name: nobody else sees it. */
  client: string;
  /** Its Idempotency-Key, which is its client's own. */
  key: string | undefined;
  /** The trace that it is a part of. */
  trace: TraceContext | undefined;
}

/** When a transfer was accepted. */
export interface Acceptance {
  /** By the journal's clock, in milliseconds: its age is told by this. */
  elapsedMs: number;
  /** By the wall clock, in milliseconds, to be shown. */
  wallMs: number;
}

/** A client's change of a transfer's settings. */
export interface Change {
  /** 1 for the first one. */
  number: number;
  settings: TransferSettings;
}

/** How a transfer ended. */
export interface Outcome {
  status: End;
  /** Why, unless it succeeded. */
  error: Problem | undefined;
  choice: EngineChoice;
  channels: readonly string[];
  bytesCompleted: number;
  /** Nanoseconds from acceptance; undefined where it never started. */
  startedNs: number | undefined;
  finishedNs: number;
  /** What the engine told of its last run. */
  completion: EngineReport | undefined;
}

/** What is kept of a completion. */
export type EngineReport = Pick<
  Completion,
  'copyNs' | 'flushNs' | 'verifyNs' | 'segment' | 'sourceCrc' | 'destinationCrc' | 'difference'
> & { dma: Pick<Completion['dma'], 'retries'> };

/** There are many transfers to keep it of: no more than that. */
function reportOf(completion: Completion): EngineReport {
  const { copyNs, flushNs, verifyNs, segment, sourceCrc, destinationCrc } = completion;
  const { difference, dma } = completion;
  return {
    copyNs,
    flushNs,
    verifyNs,
    segment,
    sourceCrc,
    destinationCrc,
    difference,
    dma: { retries: dma.retries },
  };
}

/** 52 days: with the daemon's own time on top, a double still tells nanoseconds. */
const MAX_AGE_NS = 2 ** 52;

/** One transfer, from its acceptance on. */
export class Transfer {
  readonly id: string;
  /** As it was accepted. */
  readonly plan: TransferPlan;
  readonly origin: Origin;
  status: Status = 'queued';
  /** Who copies, and why: as planned until it starts. */
  choice: EngineChoice;
  /** Names of the DMA channels that had a part of it. */
  channels: readonly string[] = [];
  bytesCompleted = 0;
  /** Says why it has not started; undefined once somebody else sees it through, or nobody. */
  place: { readonly waitingFor: WaitingFor } | undefined;
  /** Whether its client was told that it goes on, and may come back for its end. */
  acknowledged = false;
  error: Problem | undefined;
  /** Numbers of events: that it was accepted, that it runs, its latest status; 0: none yet. */
  acceptedEvent = 0;
  runningEvent = 0;
  latestEvent = 0;
  /** The latest that was made while it was not over. */
  change: Change | undefined;
  readonly accepted: Acceptance;
  readonly #acceptedNs: number;
  #startedNs: number | undefined;
  #finishedNs: number | undefined;
  #report: EngineReport | undefined;

  /** @param accepted by an earlier daemon; absent: now */
  constructor(
    id: string,
    plan: TransferPlan,
    origin: Origin,
    clock: ElapsedClock,
    accepted?: Acceptance,
  ) {
    this.id = id;
    this.plan = plan;
    this.origin = origin;
    this.choice = plan.choice;
    const now = monotonicNs();
    const elapsedMs = clock.now();
    this.accepted = accepted ?? { elapsedMs, wallMs: wallOffset() + now / 1e6 };
    // Below zero if the host went down before the clock's last hours were on disk.
    const ageNs = Math.max(0, elapsedMs - this.accepted.elapsedMs) * 1e6;
    this.#acceptedNs = now - Math.round(Math.min(ageNs, MAX_AGE_NS));
  }

  /** What its client wants now. */
  get settings(): TransferSettings {
    return this.change?.settings ?? this.plan;
  }

  get finished(): boolean {
    return this.#finishedNs !== undefined;
  }

  /** Milliseconds since its acceptance. */
  get ageMs(): number {
    return (monotonicNs() - this.#acceptedNs) / 1e6;
  }

  /** When it ended, by CLOCK_MONOTONIC; it must be over. */
  get finishedNs(): number {
    return this.#finishedNs as number;
  }

  /** What the engine told of its last run, once it has finished. */
  get report(): EngineReport | undefined {
    return this.#report;
  }

  get createdAt(): string {
    return this.#timeOf(this.#acceptedNs);
  }

  get startedAt(): string | null {
    return this.#startedNs === undefined ? null : this.#timeOf(this.#startedNs);
  }

  get finishedAt(): string | null {
    return this.#finishedNs === undefined ? null : this.#timeOf(this.#finishedNs);
  }

  /** How often a part of it was thrown out with another copy's fault, and tried again. */
  get retries(): number {
    return this.#report?.dma.retries ?? 0;
  }

  /** @param choice made anew, for channels come and go while it waits */
  start(choice: EngineChoice): void {
    this.choice = choice;
    this.status = 'running';
    this.#startedNs = monotonicNs();
  }

  /** It shall begin anew, when the daemon runs again. */
  suspend(): void {
    this.status = 'queued';
    this.choice = this.plan.choice;
    this.bytesCompleted = 0;
    this.#startedNs = undefined;
  }

  /**
   * How it ends, now.
   *
   * @param completion what the engine told, where it ever ran
   * @param error why, unless it succeeded
   * @param channels names of the DMA channels that had a part of it
   */
  outcome(
    completion: Completion | undefined,
    error: Problem | undefined,
    channels: readonly string[] = [],
  ): Outcome {
    const startedNs = completion?.startedNs || this.#startedNs;
    return {
      status: statusOf(error),
      error,
      choice: this.choice,
      channels,
      bytesCompleted: completion?.bytesDone ?? this.bytesCompleted,
      startedNs: startedNs === undefined ? undefined : startedNs - this.#acceptedNs,
      finishedNs: (completion?.finishedNs ?? monotonicNs()) - this.#acceptedNs,
      completion: completion && reportOf(completion),
    };
  }

  /** Ends it. */
  finish(outcome: Outcome): void {
    const { status, error, choice, channels } = outcome;
    const { bytesCompleted, startedNs, finishedNs, completion } = outcome;
    this.status = status;
    this.error = error;
    this.choice = choice;
    this.channels = channels;
    this.bytesCompleted = bytesCompleted;
    if (startedNs !== undefined) this.#startedNs = this.#acceptedNs + startedNs;
    this.#finishedNs = this.#acceptedNs + finishedNs;
    this.#report = completion;
  }

  /** How it ended; undefined while it is not over. */
  get end(): Outcome | undefined {
    if (this.#finishedNs === undefined) return undefined;
    return {
      status: this.status as End,
      error: this.error,
      choice: this.choice,
      channels: this.channels,
      bytesCompleted: this.bytesCompleted,
      startedNs: this.#startedNs === undefined ? undefined : this.#startedNs - this.#acceptedNs,
      finishedNs: this.#finishedNs - this.#acceptedNs,
      completion: this.#report,
    };
  }

  /** Nanoseconds spent in each phase so far; the wait ends when the first byte moves. */
  get timings(): TransferDocument['timings'] {
    const until = this.#startedNs ?? this.#finishedNs ?? monotonicNs();
    return {
      queue_ns: until - this.#acceptedNs,
      copy_ns: this.#report?.copyNs ?? 0,
      flush_ns: this.#report?.flushNs ?? 0,
      verify_ns: this.#report?.verifyNs ?? 0,
      total_ns: (this.#finishedNs ?? monotonicNs()) - this.#acceptedNs,
    };
  }

  /** A monotonic time as wall clock; steps of that clock meanwhile do not show. */
  #timeOf(ns: number): string {
    return isoTime(Math.floor(this.accepted.wallMs + (ns - this.#acceptedNs) / 1e6));
  }
}

function statusOf(error: Problem | undefined): End {
  if (error === undefined) return 'succeeded';
  return error.code === 'cancelled' || error.code === 'interrupted' ? error.code : 'failed';
}
