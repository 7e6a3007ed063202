// SPDX-License-Identifier: Apache-2.0
import type { Device } from '../devices/device.ts';
import type { EngineChoice, RequestedEngine } from '../engines/choice.ts';
import type { Completion, Priority, Segment } from '../engines/records.ts';
import { crc32cText } from '../http/crc32c.ts';
import { type Problem, problemDetails } from '../problems/problem.ts';
import type { Status, TransferDocument } from './schema.ts';

/** What is to be done: a request, checked against the devices and with its engine chosen. */
export interface TransferPlan {
  source: Device;
  destination: Device;
  segments: readonly Segment[];
  /** Whether the client gave segments, and shall see them again. */
  segmented: boolean;
  /** The sum of the segments. */
  bytes: number;
  requestedEngine: RequestedEngine;
  choice: EngineChoice;
  priority: Priority;
  flush: boolean;
  verify: boolean;
  /** From acceptance. */
  timeoutMs: number | undefined;
  labels: Readonly<Record<string, string>>;
}

/** CLOCK_MONOTONIC, the clock of the shim's completions, in nanoseconds. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

/** The wall clock may be slewed this far, in milliseconds, before it counts as having been set. */
const MAX_DRIFT_MS = 100;
let wallOffsetMs = Number.NaN;

/**
 * What to add to the monotonic clock, in milliseconds, for the wall clock. The same for all
 * transfers until somebody sets the clock, so that their times are in the order of what happened.
 */
function wallOffset(): number {
  const offset = Date.now() - monotonicNs() / 1e6;
  if (!(Math.abs(offset - wallOffsetMs) <= MAX_DRIFT_MS)) wallOffsetMs = offset;
  return wallOffsetMs;
}

/** The request that made a transfer. */
export interface Origin {
  requestId: string;
  /** Whose it is, by name: nobody else sees it. */
  client: string;
  /** Its Idempotency-Key, which is its client's own. */
  key: string | undefined;
}

/** One transfer, from its acceptance on. */
export class Transfer {
  readonly id: string;
  readonly plan: TransferPlan;
  readonly origin: Origin;
  status: Status = 'queued';
  /** Who copies, and why: as planned until it starts. */
  choice: EngineChoice;
  /** Names of the DMA channels that had a part of it. */
  channels: readonly string[] = [];
  bytesCompleted = 0;
  error: Problem | undefined;
  readonly #wallOffsetMs = wallOffset();
  readonly #acceptedNs = monotonicNs();
  #startedNs: number | undefined;
  #finishedNs: number | undefined;
  #completion: Completion | undefined;

  constructor(id: string, plan: TransferPlan, origin: Origin) {
    this.id = id;
    this.plan = plan;
    this.origin = origin;
    this.choice = plan.choice;
  }

  get over(): boolean {
    return this.#finishedNs !== undefined;
  }

  /** How often a part of it was thrown out with another copy's fault, and tried again. */
  get retries(): number {
    return this.#completion?.dma.retries ?? 0;
  }

  /** @param choice made anew, for channels come and go while it waits */
  start(choice: EngineChoice): void {
    this.choice = choice;
    this.status = 'running';
    this.#startedNs = monotonicNs();
  }

  /**
   * Ends it.
   *
   * @param completion what the engine told, where it ever ran
   * @param error why, unless it succeeded
   */
  finish(
    status: Exclude<Status, 'queued' | 'running'>,
    completion: Completion | undefined,
    error: Problem | undefined,
  ): void {
    this.status = status;
    this.error = error;
    this.#completion = completion;
    this.#finishedNs = completion?.finishedNs ?? monotonicNs();
    if (completion !== undefined) {
      this.#startedNs = completion.startedNs || this.#startedNs;
      this.bytesCompleted = completion.bytesDone;
    }
  }

  /** Nanoseconds spent in each phase so far; the wait ends when the first byte moves. */
  get timings(): TransferDocument['timings'] {
    const until = this.#startedNs ?? this.#finishedNs ?? monotonicNs();
    return {
      queue_ns: until - this.#acceptedNs,
      copy_ns: this.#completion?.copyNs ?? 0,
      flush_ns: this.#completion?.flushNs ?? 0,
      verify_ns: this.#completion?.verifyNs ?? 0,
      total_ns: (this.#finishedNs ?? monotonicNs()) - this.#acceptedNs,
    };
  }

  /** The transfer as clients see it. */
  toJSON(): TransferDocument {
    const { plan } = this;
    const timings = this.timings;
    const [only] = plan.segments;
    return {
      id: this.id,
      status: this.status,
      device_name: plan.source.name,
      dst_device_name: plan.destination.name,
      src_offset: plan.segmented || only === undefined ? null : only.src_offset,
      dst_offset: plan.segmented || only === undefined ? null : only.dst_offset,
      size: plan.bytes,
      segments: plan.segmented ? [...plan.segments] : null,
      engine: this.choice.engine,
      engine_reason: this.choice.reason,
      channels: [...this.channels],
      retries: this.retries,
      priority: plan.priority,
      timeout_ms: plan.timeoutMs ?? null,
      bytes_completed: this.bytesCompleted,
      progress: this.bytesCompleted / plan.bytes,
      durability: this.#durability(),
      verification: this.#verification(),
      created_at: this.#timeOf(this.#acceptedNs),
      started_at: this.#timeOf(this.#startedNs),
      finished_at: this.#timeOf(this.#finishedNs),
      timings,
      throughput_bytes_per_second:
        timings.copy_ns === 0 ? 0 : Math.round((this.bytesCompleted * 1e9) / timings.copy_ns),
      labels: plan.labels,
      error: this.error === undefined ? null : problemDetails(this.error, this.origin.requestId),
    };
  }

  #durability(): TransferDocument['durability'] {
    const requested = this.plan.flush ? 'flush' : 'none';
    const basis = this.plan.destination.flushBasis;
    if (this.status !== 'succeeded' || !this.plan.flush) {
      return { requested, achieved: 'none', basis: null };
    }
    return basis === 'none'
      ? { requested, achieved: 'volatile', basis: null }
      : { requested, achieved: 'flush', basis };
  }

  #verification(): TransferDocument['verification'] {
    const completion = this.#completion;
    if (!this.plan.verify || completion === undefined) return null;
    const compared = this.status === 'succeeded' || this.error?.code === 'verify_mismatch';
    if (!compared) return null;
    return {
      method: 'crc32c',
      segments: this.status === 'succeeded' ? this.plan.segments.length : completion.segment + 1,
      src: crc32cText(completion.sourceCrc),
      dst: crc32cText(completion.destinationCrc),
    };
  }

  /** A monotonic time as wall clock; steps of that clock meanwhile do not show. */
  #timeOf(ns: number): string;
  #timeOf(ns: number | undefined): string | null;
  #timeOf(ns: number | undefined): string | null {
    return ns === undefined ? null : new Date(this.#wallOffsetMs + ns / 1e6).toISOString();
  }
}
