// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { ENGINE_NAMES, FLUSH_BASES, OPERATIONS } from '../../base/vocabulary.ts';
import type { DmaFailure, FieldError } from '../../http/problems/problem.ts';
import { problemCodeSchema } from '../../http/problems/schema.ts';
import type { Device } from '../devices/device.ts';
import { DEVICE_KINDS } from '../engines/records.ts';
import type { Rows } from '../journal/store.ts';
import { transferRequestSchema } from './request-schema.ts';
import { ENDS } from './schema.ts';
import type { SourceState } from './source-state.ts';
import type { Change, Outcome, Transfer } from './transfer.ts';

/**
 * A transfer's rows in the journal: what was accepted, that it has begun (where it matters), and
 * how it ended. Keys begin with the id, so that rows come in the order of acceptance. Changes take
 * turns in two rows, so that one that is refused leaves the one before it. What a transfer depends
 * on is a row of its own, so that versions that know no dependencies do not run it.
 */
const PARTS = [
  ...(['accepted', 'unsettled', 'begun'] as const),
  ...(['changed_0', 'changed_1', 'dependencies', 'ended'] as const),
] as const;
type Part = (typeof PARTS)[number];

export const keyOf = (id: string, part: Part) => `${id}/${part}`;
/** Any row under a transfer's id; later versions may know further parts. */
const KEY = /^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\/(\w+)$/;

/** @returns the transfer's id and the part of a row's key */
export function partsOf(key: string): [id?: string, part?: string] {
  const [, id, part] = KEY.exec(key) ?? [];
  return id === undefined ? [] : [id, part ?? ''];
}

/** @returns the id of the transfer that a row belongs to, if it does */
export function idOf(key: string | undefined): string | undefined {
  return KEY.exec(key ?? '')?.[1];
}

/**
 * Whether these rows of a transfer are left over: it was refused, or never acknowledged, and more had
 * been written of it meanwhile.
 */
export function isLeftOver(keys: readonly string[]): boolean {
  return keys.every((key) => ['unsettled', 'begun'].includes(KEY.exec(key)?.[2] ?? ''));
}

/** Whether a transfer with these rows was not over, or has one that this version does not know. */
export function isUnfinished(keys: readonly string[]): boolean {
  const parts = keys.map((key) => KEY.exec(key)?.[2]);
  return !parts.includes('ended') || parts.some((part) => !PARTS.includes(part as Part));
}

export const deviceSchema = z.object({
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

export const acceptedSchema = z.object({
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
  /** Absent: it is part of no trace. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  /** By the wall clock. */
  accepted_ms: z.number(),
  /** By the journal's clock; not in rows of versions that had none. */
  accepted_elapsed_ms: z.number().optional(),
  /** Which start of the host this was; not in rows of versions that did not look. */
  boot_id: z.string().optional(),
  /** Whether its source would have outlived a power failure; absent: no. */
  source_persistent: z.boolean().optional(),
  /** Whether work that a crash forgets was writing its source; an `unsettled` row says so later. */
  source_unsettled: z.boolean().optional(),
});

/** Of a version that only said that it has begun: `true`. */
export const begunSchema = z.union([
  z.object({
    /** How many daemons ran it again, and ended otherwise than in order. */
    reruns: z.int().min(0),
  }),
  z.literal(true).transform(() => ({ reruns: 0 })),
]);

export const changedSchema = z.object({
  number: z.int().min(1),
  priority: transferRequestSchema.shape.priority,
  timeout_ms: z.int().nullable(),
  labels: z.record(z.string(), z.string()),
});

export const dependenciesSchema = z.object({
  /** All that its client named. */
  ids: z.array(z.string()),
  /** Those of them that had not succeeded yet. */
  open: z.array(z.string()),
});

export const endedSchema = z.object({
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

/**
 * @param source undefined for a transfer that has finished
 * @returns rows that say that it was accepted
 */
export function acceptedRows(transfer: Transfer, source?: SourceState): Rows {
  const { id, plan, origin, accepted } = transfer;
  const record: z.input<typeof acceptedSchema> = {
    operation: plan.operation,
    pattern: plan.pattern,
    source: deviceRecord(plan.source),
    destination: deviceRecord(plan.destination),
    segments: Array.from(plan.segments.numbers),
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
    ...origin.trace,
    accepted_ms: accepted.wallMs,
    accepted_elapsed_ms: accepted.elapsedMs,
    ...(source && {
      ...{ boot_id: source.bootId, source_persistent: source.persistent },
      ...(source.unsettled && { source_unsettled: true }),
    }),
  };
  return new Map([[keyOf(id, 'accepted'), JSON.stringify(record)]]);
}

/** @returns rows that say that work which a crash forgets writes its source */
export function unsettledRows({ id }: Transfer): Rows {
  return new Map([[keyOf(id, 'unsettled'), 'true']]);
}

/** @returns rows that say that it has begun to copy, the last time after so many reruns */
export function begunRows({ id }: Transfer, reruns: number): Rows {
  const record: z.input<typeof begunSchema> = { reruns };
  return new Map([[keyOf(id, 'begun'), JSON.stringify(record)]]);
}

/** @returns rows that say what it depends on. @param open which of those have not succeeded */
export function dependencyRows({ id, plan }: Transfer, open: readonly string[]): Rows {
  const { dependsOn } = plan;
  if (dependsOn.length === 0) return new Map();
  const record: z.input<typeof dependenciesSchema> = { ids: [...dependsOn], open: [...open] };
  return new Map([[keyOf(id, 'dependencies'), JSON.stringify(record)]]);
}

/** @returns rows that say what its client has changed */
export function changedRows({ id }: Transfer, { number, settings }: Change): Rows {
  const { priority, timeoutMs, labels } = settings;
  const record: z.input<typeof changedSchema> = {
    ...{ number, priority, labels },
    timeout_ms: timeoutMs ?? null,
  };
  return new Map([
    [keyOf(id, number % 2 === 0 ? 'changed_0' : 'changed_1'), JSON.stringify(record)],
  ]);
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

/** Which rows there may be of a transfer. */
export interface RowsOf {
  id: string;
  /** Whether its client has changed its settings. */
  changed: boolean;
  /** Whether it depends on others. */
  dependent: boolean;
}

export function rowsOf({ id, change, plan }: Transfer): RowsOf {
  return { id, changed: change !== undefined, dependent: plan.dependsOn.length > 0 };
}

/** The keys that rows of a transfer can have. */
export function keysOf({ id, changed, dependent }: RowsOf): string[] {
  const parts = PARTS.filter((part) => {
    if (isChange(part)) return changed;
    return part !== 'dependencies' || dependent;
  });
  return parts.map((part) => keyOf(id, part));
}

export function isChange(part: string): boolean {
  return part === 'changed_0' || part === 'changed_1';
}

export function deviceRecord(device: Device): z.input<typeof deviceSchema> {
  const { name, kind, size, identity, flushBasis } = device;
  return { name, kind, size, identity, flush_basis: flushBasis };
}
