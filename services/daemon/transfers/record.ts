// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import type { Device } from '../devices/device.ts';
import {
  DEVICE_KINDS,
  ENGINE_NAMES,
  FLUSH_BASES,
  NOWHERE,
  OPERATIONS,
  type Segment,
} from '../engines/records.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Rows } from '../journal/store.ts';
import { type DmaFailure, type FieldError, Problem } from '../problems/problem.ts';
import { problemCodeSchema } from '../problems/schema.ts';
import { ENDS, type TransferRequest, transferRequestSchema } from './schema.ts';
import { type Outcome, Transfer, type TransferPlan } from './transfer.ts';

/**
 * A transfer's rows in the journal: what was accepted, that it has begun (where it matters), and
 * how it ended. Keys begin with the id, so that rows come in the order of acceptance.
 */
const PARTS = ['accepted', 'begun', 'ended'] as const;
type Part = (typeof PARTS)[number];

const keyOf = (id: string, part: Part) => `${id}/${part}`;
const KEY = /^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\/(\w+)$/;

const deviceSchema = z.object({
  name: z.string(),
  kind: z.enum(Object.keys(DEVICE_KINDS) as [keyof typeof DEVICE_KINDS]),
  size: z.int(),
  identity: z.string(),
  flush_basis: z.enum(FLUSH_BASES),
});

const choiceSchema = z
  .object({ engine: z.enum(ENGINE_NAMES), reason: z.string() })
  // Decided anew, should it run again.
  .transform((choice) => ({ ...choice, cpuBytes: 0 }));

const acceptedSchema = z.object({
  /** Not in rows of versions that could only copy. */
  operation: z.enum(OPERATIONS).default('copy'),
  pattern: z.string().optional(),
  source: deviceSchema,
  destination: deviceSchema,
  /** Offsets and sizes, three for each segment. */
  segments: z.array(z.int().min(0)).min(3),
  segmented: z.boolean(),
  requested_engine: transferRequestSchema.shape.engine,
  choice: choiceSchema,
  priority: transferRequestSchema.shape.priority,
  flush: z.boolean(),
  verify: z.boolean(),
  timeout_ms: z.int().nullable(),
  labels: z.record(z.string(), z.string()),
  request_id: z.string(),
  client: z.string(),
  key: z.string().nullable(),
  /** By the wall clock. */
  accepted_ms: z.number(),
  /** By the journal's clock; not in rows of versions that had none. */
  accepted_elapsed_ms: z.number().optional(),
});

const endedSchema = z.object({
  status: z.enum(ENDS),
  error: z
    .object({
      code: problemCodeSchema,
      detail: z.string(),
      errors: z.custom<FieldError[]>().optional(),
      dma: z.custom<DmaFailure>().optional(),
    })
    .nullable(),
  choice: choiceSchema,
  channels: z.array(z.string()).readonly(),
  bytes_completed: z.int().min(0),
  /** Since its acceptance, by a clock that may have been set: any number. */
  started_ns: z.number().nullable(),
  finished_ns: z.number(),
  completion: z
    .object({
      copyNs: z.int(),
      flushNs: z.int(),
      verifyNs: z.int(),
      segment: z.int(),
      sourceCrc: z.int(),
      destinationCrc: z.int(),
      difference: z.int().optional(),
      dma: z.object({ retries: z.int() }),
    })
    .nullable(),
});

/** What the journal says of a transfer. */
export interface TransferRecord {
  id: string;
  accepted: z.output<typeof acceptedSchema>;
  /** It has begun to copy; known only of one that touches its own source. */
  begun: boolean;
  /** A row that says what became of it cannot be read. */
  spoilt: boolean;
  /** Undefined where it was not over. */
  outcome: Outcome | undefined;
}

/** @returns rows that say that it was accepted @param begun that it may have begun, too */
export function acceptedRows(transfer: Transfer, begun: boolean): Rows {
  const { id, plan, origin, accepted } = transfer;
  const record: z.input<typeof acceptedSchema> = {
    operation: plan.operation,
    pattern: plan.pattern,
    source: deviceRecord(plan.source),
    destination: deviceRecord(plan.destination),
    segments: numbersOf(plan.segments),
    segmented: plan.segmented,
    requested_engine: plan.requestedEngine,
    choice: plan.choice,
    priority: plan.priority,
    flush: plan.flush,
    verify: plan.verify,
    timeout_ms: plan.timeoutMs ?? null,
    labels: plan.labels,
    request_id: origin.requestId,
    client: origin.client,
    key: origin.key ?? null,
    accepted_ms: accepted.wallMs,
    accepted_elapsed_ms: accepted.elapsedMs,
  };
  const rows = new Map([[keyOf(id, 'accepted'), JSON.stringify(record)]]);
  return begun ? new Map([...rows, ...begunRows(transfer)]) : rows;
}

/** @returns rows that say that it has begun to copy */
export function begunRows({ id }: Transfer): Rows {
  return new Map([[keyOf(id, 'begun'), 'true']]);
}

/** @returns rows that say how it ended */
export function endedRows({ id }: Transfer, outcome: Outcome): Rows {
  const { status, error, choice, channels } = outcome;
  const { bytesCompleted, startedNs, finishedNs, completion } = outcome;
  const record: z.input<typeof endedSchema> = {
    status,
    error:
      error === undefined
        ? null
        : {
            ...{ code: error.code, detail: error.message },
            ...{ errors: error.options.errors, dma: error.options.dma },
          },
    choice,
    channels,
    bytes_completed: bytesCompleted,
    started_ns: startedNs ?? null,
    finished_ns: finishedNs,
    completion: completion ?? null,
  };
  return new Map([[keyOf(id, 'ended'), JSON.stringify(record)]]);
}

/** The keys that rows of a transfer can have. */
export function keysOf({ id }: Transfer): string[] {
  return PARTS.map((part) => keyOf(id, part));
}

/**
 * Reads rows in the order of their keys.
 *
 * @param onUnreadable is told the key of each row that says nothing
 */
export function readRecords(
  rows: Iterable<[key: string, value: string]>,
  onUnreadable: (key: string) => void,
): TransferRecord[] {
  const records: TransferRecord[] = [];
  for (const [key, value] of rows) {
    const [, id, part] = KEY.exec(key) ?? [];
    if (id === undefined) continue;
    const last = records.at(-1);
    try {
      if (part === 'accepted') {
        const accepted = acceptedSchema.parse(JSON.parse(value));
        records.push({ id, accepted, begun: false, spoilt: false, outcome: undefined });
      } else if (last?.id !== id) {
        throw new Error('what was accepted is missing');
      } else if (part === 'begun') {
        last.begun = true;
      } else {
        last.outcome = readOutcome(endedSchema.parse(JSON.parse(value)));
      }
    } catch {
      if (last?.id === id) last.spoilt = true;
      onUnreadable(key);
    }
  }
  return records;
}

/** The transfer as it was, on devices as they were: to be looked at, not to be run. */
export function transferOf(record: TransferRecord, clock: ElapsedClock): Transfer {
  const { accepted, outcome } = record;
  const transfer = transferAgain(record, planOf(accepted), clock);
  if (outcome !== undefined) transfer.finish(outcome);
  return transfer;
}

/** The transfer again, with a plan of today. */
export function transferAgain(
  { id, accepted }: TransferRecord,
  plan: TransferPlan,
  clock: ElapsedClock,
): Transfer {
  const { accepted_ms: wallMs } = accepted;
  const byWall = clock.now() - Math.max(0, Date.now() - wallMs);
  const elapsedMs = accepted.accepted_elapsed_ms ?? byWall;
  return new Transfer(id, plan, originOf(accepted), clock, { elapsedMs, wallMs });
}

/** What its client asked for. */
export function requestOf({ accepted }: TransferRecord): TransferRequest {
  const { operation, pattern } = accepted;
  const segments = segmentsOf(accepted).map(({ src_offset, ...rest }) =>
    operation === 'fill' ? rest : { src_offset, ...rest },
  );
  return {
    operation,
    ...(pattern !== undefined && { pattern }),
    device_name: accepted.source.name,
    ...(operation !== 'fill' && { dst_device_name: accepted.destination.name }),
    ...(accepted.segmented ? { segments } : segments[0]),
    engine: accepted.requested_engine,
    ...(operation !== 'compare' && {
      durability: accepted.flush ? 'flush' : 'none',
      verify: accepted.verify ? 'crc32c' : 'none',
    }),
    ...(accepted.timeout_ms !== null && { timeout_ms: accepted.timeout_ms }),
    priority: accepted.priority,
    labels: accepted.labels,
    dry_run: false,
  };
}

function deviceRecord(device: Device): z.input<typeof deviceSchema> {
  const { name, kind, size, identity, flushBasis } = device;
  return { name, kind, size, identity, flush_basis: flushBasis };
}

function originOf({ request_id, client, key }: TransferRecord['accepted']) {
  return { requestId: request_id, client, key: key ?? undefined };
}

function numbersOf(segments: readonly Segment[]): number[] {
  const numbers: number[] = [];
  for (const { src_offset, dst_offset, size } of segments)
    numbers.push(src_offset, dst_offset, size);
  return numbers;
}

function segmentsOf({ segments: numbers }: TransferRecord['accepted']) {
  return Array.from({ length: Math.floor(numbers.length / 3) }, (_, index) => {
    const [src_offset = 0, dst_offset = 0, size = 0] = numbers.slice(3 * index, 3 * index + 3);
    return { src_offset, dst_offset, size };
  });
}

function planOf(accepted: TransferRecord['accepted']): TransferPlan {
  const segments = segmentsOf(accepted);
  return {
    operation: accepted.operation,
    pattern: accepted.pattern,
    source: deviceOf(accepted.source),
    destination: deviceOf(accepted.destination),
    segments,
    segmented: accepted.segmented,
    bytes: segments.reduce((sum, { size }) => sum + size, 0),
    requestedEngine: accepted.requested_engine,
    choice: accepted.choice,
    priority: accepted.priority,
    flush: accepted.flush,
    verify: accepted.verify,
    timeoutMs: accepted.timeout_ms ?? undefined,
    labels: accepted.labels,
  };
}

/** A device as it was; nothing can be copied from it or to it. */
function deviceOf({ name, kind, size, identity, flush_basis }: z.output<typeof deviceSchema>) {
  return {
    ...{ name, kind, size, identity, flushBasis: flush_basis },
    ...{ path: '', uuid: null, resource: null, align: 0, numaNode: null, badBlocks: [] },
    ...{
      persistenceDomain: 'unknown',
      state: 'online',
      stateReason: null,
      instance: 0,
      handle: NOWHERE,
    },
  } satisfies Device;
}

function readOutcome(ended: z.output<typeof endedSchema>): Outcome {
  const { status, error, choice, channels } = ended;
  const { bytes_completed, started_ns, finished_ns, completion } = ended;
  return {
    ...{ status, choice, channels },
    error: error === null ? undefined : readProblem(error),
    bytesCompleted: bytes_completed,
    startedNs: started_ns ?? undefined,
    finishedNs: finished_ns,
    completion:
      completion === null ? undefined : { ...completion, difference: completion.difference },
  };
}

function readProblem(error: NonNullable<z.output<typeof endedSchema>['error']>): Problem {
  const { code, detail, errors, dma } = error;
  return new Problem(code, detail, { ...(errors && { errors }), ...(dma && { dma }) });
}
