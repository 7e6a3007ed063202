// SPDX-License-Identifier: Apache-2.0
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { type Problem, problemDetails } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import { durabilityOf } from '../devices/durability.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Subject } from '../transfers/feed-event.ts';
import { patchedLabels } from '../transfers/labels.ts';
import type { End, Status } from '../transfers/schema.ts';
import type { Acceptance, Origin } from '../transfers/transfer.ts';
import { Blocks } from './blocks.ts';
import { Progress } from './progress.ts';
import type {
  ReplicationDocument,
  ReplicationPatch,
  ReplicationRequest,
  ReplicationWait,
} from './schema.ts';

/** What a client may change until the replication has finished. */
export interface Settings
  extends Pick<ReplicationRequest, 'bytes_per_second' | 'priority' | 'timeout_ms'> {
  labels: Readonly<Record<string, string>>;
}

/** How a replication ended. */
export interface Outcome {
  status: End;
  error: Problem | undefined;
  startedMs: number | undefined;
  finishedMs: number;
  /** By the journal's clock. */
  finishedElapsedMs: number;
}

/** One replication, from its acceptance on. */
export class Replication implements Subject {
  readonly id: string;
  readonly request: ReplicationRequest;
  readonly origin: Origin;
  readonly accepted: Acceptance;
  /** As it was accepted. */
  readonly destination: Device;
  readonly progress: Progress;
  settings: Settings;
  /** How many times the settings were changed. */
  changes = 0;
  status: Status = 'queued';
  /** Returns what it waits for; undefined once it has finished. */
  waitingFor: (() => ReplicationWait | undefined) | undefined;
  outcome: Outcome | undefined;
  startedMs: number | undefined;
  /** See {@link Subject}. */
  acceptedEvent = 0;
  runningEvent = 0;
  latestEvent = 0;
  /** Whether its client has the answer that it was accepted. */
  acknowledged = false;
  readonly #clock: ElapsedClock;

  /** @param accepted when an earlier daemon accepted it; by default it is accepted now */
  constructor(
    id: string,
    request: ReplicationRequest,
    destination: Device,
    origin: Origin,
    clock: ElapsedClock,
    accepted: Acceptance = { elapsedMs: clock.now(), wallMs: Date.now() },
  ) {
    this.id = id;
    this.request = request;
    this.destination = destination;
    this.origin = origin;
    this.accepted = accepted;
    this.#clock = clock;
    this.progress = new Progress(new Blocks(request.size, request.block_size));
    const { bytes_per_second, priority, timeout_ms, labels } = request;
    this.settings = { bytes_per_second, priority, timeout_ms, labels };
  }

  get deviceNames(): string[] {
    return [this.request.src_device_name, this.destination.name];
  }

  get finished(): boolean {
    return this.outcome !== undefined;
  }

  /** Milliseconds since its acceptance. */
  get ageMs(): number {
    return Math.max(0, this.#clock.now() - this.accepted.elapsedMs);
  }

  /** Milliseconds since its end; it must have finished. */
  get finishedForMs(): number {
    return this.#clock.now() - (this.outcome as Outcome).finishedElapsedMs;
  }

  start(): void {
    this.status = 'running';
    this.startedMs ??= Date.now();
  }

  /** The next daemon resumes it. */
  suspend(): void {
    this.status = 'queued';
  }

  /** The outcome if it ends now. @param error why it failed; undefined if it succeeded */
  end(error: Problem | undefined): Outcome {
    return {
      ...{ status: statusOf(error), error, startedMs: this.startedMs },
      finishedMs: Math.max(Date.now(), this.startedMs ?? 0, this.accepted.wallMs),
      finishedElapsedMs: this.#clock.now(),
    };
  }

  finish(outcome: Outcome): void {
    this.outcome = outcome;
    this.status = outcome.status;
    this.startedMs = outcome.startedMs;
    this.waitingFor = undefined;
  }

  documentFor(viewer: Viewer): ReplicationDocument {
    const { request, settings, progress, outcome, origin } = this;
    const { copied, equal, again, blocks, bytesCompleted } = progress;
    const error = outcome?.error;
    return {
      id: this.id,
      status: this.status,
      waiting_for: this.waitingFor?.() ?? null,
      peer: request.peer,
      src_device_name: request.src_device_name,
      src_offset: request.src_offset,
      dst_device_name: this.destination.name,
      dst_offset: request.dst_offset,
      size: request.size,
      block_size: request.block_size,
      mode: request.mode,
      bytes_per_second: settings.bytes_per_second,
      priority: settings.priority,
      timeout_ms: settings.timeout_ms ?? null,
      blocks: { total: blocks.count, equal, copied: copied.count, again },
      bytes_on_wire: progress.bytesOnWire,
      round: progress.round,
      consistency: progress.consistency,
      bytes_completed: bytesCompleted,
      progress: bytesCompleted / request.size,
      durability: durabilityOf(this.destination, true, this.status === 'succeeded'),
      created_at: isoTime(this.accepted.wallMs) as string,
      started_at: isoTime(this.startedMs),
      finished_at: isoTime(outcome?.finishedMs),
      labels: settings.labels,
      traceparent: origin.trace?.traceparent ?? null,
      error: error === undefined ? null : problemDetails(error, origin.requestId),
      ...(seesAllTransfers(viewer) && { client: origin.client }),
    };
  }
}

/**
 * The settings with what a merge patch (RFC 7396) changes.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patched(settings: Settings, patch: ReplicationPatch): Settings {
  const { bytes_per_second = settings.bytes_per_second, priority = settings.priority } = patch;
  const { timeout_ms = settings.timeout_ms, labels } = patch;
  return {
    bytes_per_second,
    priority: priority ?? 'normal',
    timeout_ms: timeout_ms ?? undefined,
    labels: labels === undefined ? settings.labels : patchedLabels(settings, labels),
  };
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(Math.floor(ms)).toISOString();
}

function statusOf(error: Problem | undefined): End {
  if (error === undefined) return 'succeeded';
  return error.code === 'cancelled' || error.code === 'interrupted' ? error.code : 'failed';
}
