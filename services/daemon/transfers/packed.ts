// SPDX-License-Identifier: Apache-2.0
import { Cells } from '../../base/cells.ts';
import { Packer, Unpacker } from '../../base/packing.ts';
import { SegmentList } from '../../base/segments.ts';
import { SharedValues } from '../../base/shared-values.ts';
import { ENGINE_NAMES, OPERATIONS, PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import type { EngineChoice, RequestedEngine } from '../engines/choice.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import { monotonicNs } from './clocks.ts';
import type { Dependency } from './dependencies.ts';
import type { FilterSubject } from './filter.ts';
import { hasLabels, parseRare, type RareFields, rareText } from './rare-fields.ts';
import type { RowsOf } from './rows.ts';
import { type End, STATUSES } from './schema.ts';
import {
  type EngineReport,
  type Origin,
  type Outcome,
  Transfer,
  type TransferPlan,
} from './transfer.ts';
import { weightOf } from './weight.ts';

/** The number of a finished transfer in {@link PackedTransfers}. */
export type Packed = number;

const REQUESTED: readonly RequestedEngine[] = ['auto', ...ENGINE_NAMES];
const NO_LABELS = Object.freeze({});
const NONE: readonly string[] = Object.freeze([]);

/** Where the fields are that are read by themselves. All others come behind them: see pack(). */
const AT = {
  // A byte each.
  ...{ status: 0, operation: 1, engine: 2, plannedEngine: 3, requestedEngine: 4, priority: 5 },
  flags: 6,
  // 32 bits each. First numbers of shared values.
  ...{ source: 8, destination: 12, client: 16, reason: 20, plannedReason: 24 },
  ...{ segments: 28, weight: 32, idSize: 36, requestIdSize: 40, rareSize: 44 },
  // Doubles. The end is by CLOCK_MONOTONIC.
  ...{ wallMs: 48, elapsedMs: 56, finishedNs: 64 },
};
const HEAD_SIZE = 72;
/** What the numbers behind it take, segments apart. */
const NUMBERS_SIZE = 8 * 15;
const SEGMENT_NUMBERS = 3;
const SEGMENT_SIZE = 8 * SEGMENT_NUMBERS;
/** Bytes that a character takes at most. */
const CHARACTER_SIZE = 3;

const FLAGS = { segmented: 1, flush: 2, verify: 4, acknowledged: 8, ran: 16, labelled: 32 };
const MORE_FLAGS = { changed: 64, dependent: 128 };
const FLAG = { ...FLAGS, ...MORE_FLAGS };

/** Bytes of JSON that are parsed in the time that filters need for a transfer: about 1 µs. */
const RARE_PER_READING = 256;

/**
 * Finished transfers as bytes outside V8's heap, 320 for most of them. As objects they take 1.2 KB each,
 * and V8's heap grows by a multiple of that before it collects what has been forgotten.
 */
export class PackedTransfers {
  readonly #cells = new Cells();
  readonly #devices = new SharedValues<Device>();
  readonly #texts = new SharedValues<string>();
  readonly #clock: ElapsedClock;
  /** As large as the largest so far. */
  #scratch = Buffer.allocUnsafeSlow(4096);

  /** @param clock by which the transfers were accepted */
  constructor(clock: ElapsedClock) {
    this.#clock = clock;
  }

  /** @param transfer that has finished; changes to the object later do not count */
  add(transfer: Transfer): Packed {
    return this.#cells.add(this.#pack(transfer));
  }

  remove(packed: Packed): void {
    const shared = (at: number) => this.#cells.uintAt(packed, at);
    this.#devices.release(shared(AT.source));
    this.#devices.release(shared(AT.destination));
    this.#texts.release(shared(AT.client));
    this.#texts.release(shared(AT.reason));
    this.#texts.release(shared(AT.plannedReason));
    this.#cells.remove(packed);
  }

  clientOf(packed: Packed): string {
    return this.#texts.get(this.#cells.uintAt(packed, AT.client));
  }

  /** See {@link weightOf}. */
  weightOf(packed: Packed): number {
    return this.#cells.uintAt(packed, AT.weight);
  }

  segmentsOf(packed: Packed): number {
    return this.#cells.uintAt(packed, AT.segments);
  }

  /** What it takes to read it, segments apart, in transfers that have nothing rare. */
  readingCostOf(packed: Packed): number {
    return 1 + Math.floor(this.#cells.uintAt(packed, AT.rareSize) / RARE_PER_READING);
  }

  /** See {@link Transfer.acknowledged}. */
  isAcknowledged(packed: Packed): boolean {
    return this.#has(packed, FLAG.acknowledged);
  }

  statusOf(packed: Packed): End {
    return STATUSES[this.#cells.byteAt(packed, AT.status)] as End;
  }

  dependencyOf(id: string, packed: Packed): Dependency {
    const origin = { client: this.clientOf(packed) };
    return { id, origin, status: this.statusOf(packed), finished: true };
  }

  /** Milliseconds since its end. */
  finishedForMs(packed: Packed): number {
    return (monotonicNs() - this.#cells.doubleAt(packed, AT.finishedNs)) / 1e6;
  }

  rowsOf(packed: Packed): RowsOf {
    const size = this.#cells.uintAt(packed, AT.idSize);
    return {
      id: this.#cells.latin1At(packed, HEAD_SIZE, size),
      changed: this.#has(packed, FLAG.changed),
      dependent: this.#has(packed, FLAG.dependent),
    };
  }

  /** What filters look at, which is read in less time than the whole transfer. */
  subjectOf(packed: Packed): FilterSubject {
    const cells = this.#cells;
    const labels = () => this.#labelsOf(packed);
    return {
      status: this.statusOf(packed),
      choice: { engine: named(ENGINE_NAMES, cells.byteAt(packed, AT.engine)) },
      plan: {
        operation: named(OPERATIONS, cells.byteAt(packed, AT.operation)),
        source: this.#devices.get(cells.uintAt(packed, AT.source)),
        destination: this.#devices.get(cells.uintAt(packed, AT.destination)),
      },
      settings: {
        get labels() {
          return labels();
        },
      },
      accepted: { wallMs: cells.doubleAt(packed, AT.wallMs) },
    };
  }

  /** @returns the transfer as it was when it was added */
  get(packed: Packed): Transfer {
    const bytes = this.#cells.get(packed);
    const values = new Unpacker(bytes, HEAD_SIZE);
    const id = values.text(bytes.readUInt32LE(AT.idSize));
    const requestId = values.text(bytes.readUInt32LE(AT.requestIdSize));
    const timeoutMs = values.optional();
    const bytesCompleted = values.number();
    const startedNs = values.optional();
    const finishedNs = values.number();
    const acceptedEvent = values.number();
    const runningEvent = values.number();
    const latestEvent = values.number();
    const completion = hasFlag(bytes, FLAG.ran) ? unpackReport(values) : undefined;
    const operation = named(OPERATIONS, bytes[AT.operation]);
    const numbers = values.numbers(SEGMENT_NUMBERS * bytes.readUInt32LE(AT.segments));
    const segments = new SegmentList(numbers, operation !== 'fill');
    const rare = rareOf(bytes);
    const plan: TransferPlan = {
      operation,
      pattern: rare.pattern,
      source: this.#devices.get(bytes.readUInt32LE(AT.source)),
      destination: this.#devices.get(bytes.readUInt32LE(AT.destination)),
      segments,
      segmented: hasFlag(bytes, FLAG.segmented),
      bytes: segments.bytes,
      requestedEngine: named(REQUESTED, bytes[AT.requestedEngine]),
      choice: this.#choice(bytes, AT.plannedEngine, AT.plannedReason),
      priority: named(PRIORITY_NAMES, bytes[AT.priority]),
      flush: hasFlag(bytes, FLAG.flush),
      verify: hasFlag(bytes, FLAG.verify),
      timeoutMs,
      labels: rare.labels ?? NO_LABELS,
      dependsOn: rare.dependsOn ?? NONE,
    };
    const { key, trace } = rare;
    const origin: Origin = { requestId, client: this.clientOf(packed), key, trace };
    const elapsedMs = bytes.readDoubleLE(AT.elapsedMs);
    const wallMs = bytes.readDoubleLE(AT.wallMs);
    const transfer = new Transfer(id, plan, origin, this.#clock, { elapsedMs, wallMs });
    transfer.change = rare.change;
    transfer.acknowledged = hasFlag(bytes, FLAG.acknowledged);
    transfer.acceptedEvent = acceptedEvent;
    transfer.runningEvent = runningEvent;
    transfer.latestEvent = latestEvent;
    transfer.finish({
      ...{ bytesCompleted, startedNs, finishedNs, completion },
      status: this.statusOf(packed),
      error: rare.error && new Problem(rare.error.code, rare.error.detail, rare.error.options),
      choice: this.#choice(bytes, AT.engine, AT.reason),
      channels: rare.channels ?? NONE,
    });
    return transfer;
  }

  #choice(bytes: Buffer, engine: number, reason: number): EngineChoice {
    return {
      engine: named(ENGINE_NAMES, bytes[engine]),
      reason: this.#texts.get(bytes.readUInt32LE(reason)),
      // Of interest only before a transfer runs.
      cpuBytes: 0,
    };
  }

  #has(packed: Packed, flag: number): boolean {
    return (this.#cells.byteAt(packed, AT.flags) & flag) !== 0;
  }

  #labelsOf(packed: Packed): TransferPlan['labels'] {
    if (!this.#has(packed, FLAG.labelled)) return NO_LABELS;
    const { change, labels } = rareOf(this.#cells.get(packed));
    return change?.settings.labels ?? labels ?? NO_LABELS;
  }

  /** @returns bytes that are good until the next call */
  #pack(transfer: Transfer): Buffer {
    const { id, plan, origin, accepted } = transfer;
    const end = transfer.end as Outcome;
    const rare = rareText(transfer, end);
    const characters = id.length + origin.requestId.length + rare.length;
    const size =
      HEAD_SIZE + NUMBERS_SIZE + CHARACTER_SIZE * characters + SEGMENT_SIZE * plan.segments.length;
    if (size > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(size);
    const bytes = this.#scratch;
    bytes[AT.status] = STATUSES.indexOf(end.status);
    bytes[AT.operation] = OPERATIONS.indexOf(plan.operation);
    bytes[AT.engine] = ENGINE_NAMES.indexOf(end.choice.engine);
    bytes[AT.plannedEngine] = ENGINE_NAMES.indexOf(plan.choice.engine);
    bytes[AT.requestedEngine] = REQUESTED.indexOf(plan.requestedEngine);
    bytes[AT.priority] = PRIORITY_NAMES.indexOf(plan.priority);
    bytes[AT.flags] = flagsOf(transfer, end);
    bytes.writeUInt32LE(this.#devices.acquire(plan.source), AT.source);
    bytes.writeUInt32LE(this.#devices.acquire(plan.destination), AT.destination);
    bytes.writeUInt32LE(this.#texts.acquire(origin.client), AT.client);
    bytes.writeUInt32LE(this.#texts.acquire(end.choice.reason), AT.reason);
    bytes.writeUInt32LE(this.#texts.acquire(plan.choice.reason), AT.plannedReason);
    bytes.writeUInt32LE(plan.segments.length, AT.segments);
    bytes.writeUInt32LE(weightOf(transfer), AT.weight);
    bytes.writeDoubleLE(accepted.wallMs, AT.wallMs);
    bytes.writeDoubleLE(accepted.elapsedMs, AT.elapsedMs);
    bytes.writeDoubleLE(transfer.finishedNs, AT.finishedNs);
    const values = new Packer(bytes, HEAD_SIZE);
    bytes.writeUInt32LE(values.text(id), AT.idSize);
    bytes.writeUInt32LE(values.text(origin.requestId), AT.requestIdSize);
    values.number(plan.timeoutMs);
    values.number(end.bytesCompleted);
    values.number(end.startedNs);
    values.number(end.finishedNs);
    values.number(transfer.acceptedEvent);
    values.number(transfer.runningEvent);
    values.number(transfer.latestEvent);
    if (end.completion !== undefined) packReport(values, end.completion);
    values.numbers(plan.segments.numbers);
    bytes.writeUInt32LE(values.text(rare), AT.rareSize);
    return bytes.subarray(0, values.at);
  }
}

function named<Name>(names: readonly Name[], index: number | undefined): Name {
  return names[index as number] as Name;
}

function hasFlag(bytes: Buffer, flag: number): boolean {
  return ((bytes[AT.flags] as number) & flag) !== 0;
}

function flagsOf({ plan, settings, acknowledged, change }: Transfer, end: Outcome): number {
  return (
    (plan.segmented ? FLAG.segmented : 0) |
    (plan.flush ? FLAG.flush : 0) |
    (plan.verify ? FLAG.verify : 0) |
    (acknowledged ? FLAG.acknowledged : 0) |
    (end.completion === undefined ? 0 : FLAG.ran) |
    (hasLabels(settings) ? FLAG.labelled : 0) |
    (change === undefined ? 0 : FLAG.changed) |
    (plan.dependsOn.length === 0 ? 0 : FLAG.dependent)
  );
}

/** They are the last bytes. */
function rareOf(bytes: Buffer): RareFields {
  const size = bytes.readUInt32LE(AT.rareSize);
  return parseRare(bytes.toString('utf8', bytes.length - size));
}

function packReport(values: Packer, report: EngineReport): void {
  values.number(report.copyNs);
  values.number(report.flushNs);
  values.number(report.verifyNs);
  values.number(report.segment);
  values.number(report.sourceCrc);
  values.number(report.destinationCrc);
  values.number(report.difference);
  values.number(report.dma.retries);
}

function unpackReport(values: Unpacker): EngineReport {
  return {
    copyNs: values.number(),
    flushNs: values.number(),
    verifyNs: values.number(),
    segment: values.number(),
    sourceCrc: values.number(),
    destinationCrc: values.number(),
    difference: values.optional(),
    dma: { retries: values.number() },
  };
}
