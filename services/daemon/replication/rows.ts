// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import type { ByteRange } from '../../base/byte-range.ts';
import type { Problem } from '../../http/problems/problem.ts';
import { problemCodeSchema } from '../../http/problems/schema.ts';
import type { Rows } from '../journal/store.ts';
import { deviceRecord, deviceSchema } from '../transfers/rows.ts';
import { ENDS } from '../transfers/schema.ts';
import { PART_BLOCKS } from './block-set.ts';
import type { InconsistentCopy } from './inconsistent.ts';
import type { Outcome, Replication, Settings } from './replication.ts';
import { CONSISTENCIES, replicationRequestSchema } from './schema.ts';

/**
 * A replication's rows in the journal, under `replication/` and its id: what was accepted; its changed
 * settings, in two rows that are written in turn, so that a refused change leaves the one before; its
 * progress; which blocks are copied and flushed, in parts; its outcome; which bytes it left inconsistent
 * that nothing has written since; and for each transfer that copied such bytes, where those copies are.
 */
const KEY = /^replication\/([0-9a-f-]{36})\/(\w+)$/;
const keyOf = (id: string, part: string) => `replication/${id}/${part}`;
/** Begins the name of a part; its number follows. */
export const COPIED = 'copied_';
/** The same; the transfer's id follows. */
export const COPY = 'copy_';
/** Parts that a replication has at most once, without its progress. */
const ONCE = [
  'accepted',
  'changed_0',
  'changed_1',
  'ended',
  'inconsistent',
  'overwritten',
] as const;

/** The id of the replication that a key belongs to. */
export function idOf(key = ''): string | undefined {
  return KEY.exec(key)?.[1];
}

/** @returns the replication's id and the part of a row's key; empty if it is none of a replication */
export function partsOf(key: string): [id: string, part: string] {
  const [, id = '', part = ''] = KEY.exec(key) ?? [];
  return [id, part];
}

/** @param keys all of one replication */
export function hasNotEnded(keys: readonly string[]): boolean {
  return !keys.some((key) => key.endsWith('/ended'));
}

export function hasLeftInconsistent(keys: readonly string[]): boolean {
  return keys.some((key) => key.endsWith('/inconsistent') || key.includes(`/${COPY}`));
}

export const acceptedSchema = z.object({
  request: replicationRequestSchema,
  destination: deviceSchema,
  request_id: z.string(),
  client: z.string(),
  key: z.string().nullable(),
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  accepted_ms: z.number(),
  accepted_elapsed_ms: z.number(),
});

export const changedSchema = z.object({
  number: z.int().min(1),
  bytes_per_second: replicationRequestSchema.shape.bytes_per_second,
  priority: replicationRequestSchema.shape.priority,
  timeout_ms: z.int().nullable(),
  labels: z.record(z.string(), z.string()),
});

export const progressSchema = z.object({
  round: z.int().min(0),
  consistency: z.enum(CONSISTENCIES),
  equal: z.int().min(0),
  writes: z.int().min(0),
  bytes_on_wire: z.int().min(0),
  started_ms: z.number().nullable(),
});

export const endedSchema = progressSchema.extend({
  status: z.enum(ENDS),
  error: z
    .object({ code: problemCodeSchema, detail: z.string(), status: z.int().optional() })
    .nullable(),
  /** How many blocks were copied: which ones is not kept. */
  copied: z.int().min(0),
  finished_ms: z.number(),
  finished_elapsed_ms: z.number(),
});

export const rangesSchema = z
  .array(z.tuple([z.int().min(0), z.int().min(1)]))
  .transform((ranges) => ranges.map(([offset, size]): ByteRange => ({ offset, size })));

export const copySchema = z.object({ destination: deviceSchema, ranges: rangesSchema });

export function acceptedRows({ id, request, destination, origin, accepted }: Replication): Rows {
  const row: z.input<typeof acceptedSchema> = {
    request,
    destination: deviceRecord(destination),
    request_id: origin.requestId,
    client: origin.client,
    key: origin.key ?? null,
    ...origin.trace,
    accepted_ms: accepted.wallMs,
    accepted_elapsed_ms: accepted.elapsedMs,
  };
  return new Map([[keyOf(id, 'accepted'), JSON.stringify(row)]]);
}

/** @param number how many times the settings have been changed, this change included */
export function changedRows({ id }: Replication, number: number, settings: Settings): Rows {
  const { bytes_per_second, priority, timeout_ms, labels } = settings;
  const row: z.input<typeof changedSchema> = {
    ...{ number, bytes_per_second, priority, labels: { ...labels } },
    timeout_ms: timeout_ms ?? null,
  };
  return new Map([[keyOf(id, `changed_${number % 2}`), JSON.stringify(row)]]);
}

/** Its progress: of the copied blocks, the parts that have changed since the last call. */
export function progressRows(replication: Replication): Rows {
  const { id, progress } = replication;
  const rows = new Map([[keyOf(id, 'progress'), JSON.stringify(progressRecord(replication))]]);
  for (const [part, text] of progress.copied.takeChanged()) {
    rows.set(keyOf(id, `${COPIED}${part}`), text);
  }
  return rows;
}

/** Its outcome, which replaces its progress. */
export function endedRows(replication: Replication, outcome: Outcome): Rows {
  const { id, progress } = replication;
  const { status, error, finishedMs, finishedElapsedMs } = outcome;
  const row: z.input<typeof endedSchema> = {
    ...progressRecord(replication),
    status,
    error: error === undefined ? null : errorRecord(error),
    copied: progress.copied.count,
    finished_ms: finishedMs,
    finished_elapsed_ms: finishedElapsedMs,
  };
  return new Map<string, string | undefined>([
    ...progressKeys(replication).map((key): [string, undefined] => [key, undefined]),
    [keyOf(id, 'ended'), JSON.stringify(row)],
    ...(progress.consistency === 'inconsistent' ? inconsistentRows(replication) : []),
  ]);
}

/** What a finished replication has left inconsistent. @param ranges by default all of its destination */
export function inconsistentRows(
  { id, request }: Replication,
  ranges: readonly ByteRange[] = [{ offset: request.dst_offset, size: request.size }],
): Rows {
  const row = rangesRecord(ranges);
  const nothing = row.length === 0;
  return new Map([
    [keyOf(id, 'inconsistent'), nothing ? undefined : JSON.stringify(row)],
    // Without a row, all of it is inconsistent: earlier versions write none.
    [keyOf(id, 'overwritten'), nothing ? '[]' : undefined],
  ]);
}

/** Where a copy of a replication's bytes is inconsistent. @param ranges empty if it no longer is */
export function copyRows(
  { id, replication, destination }: InconsistentCopy,
  ranges: readonly ByteRange[],
): Rows {
  const row: z.input<typeof copySchema> = {
    destination: deviceRecord(destination),
    ranges: rangesRecord(ranges),
  };
  const key = keyOf(replication.id, COPY + id.replaceAll('-', '_'));
  return new Map([[key, ranges.length === 0 ? undefined : JSON.stringify(row)]]);
}

function rangesRecord(ranges: readonly ByteRange[]): z.input<typeof rangesSchema> {
  return ranges.map(({ offset, size }) => [offset, size]);
}

/** The keys that rows of a replication can have, without those of copies, which are removed once overwritten. */
export function keysOf(replication: Replication): string[] {
  const { id } = replication;
  const others = ONCE.map((part) => keyOf(id, part));
  return [...others, ...progressKeys(replication)];
}

function progressKeys({ id, progress }: Replication): string[] {
  const parts = Math.ceil(progress.blocks.count / PART_BLOCKS);
  const copied = Array.from({ length: parts }, (_, part) => keyOf(id, `${COPIED}${part}`));
  return [keyOf(id, 'progress'), ...copied];
}

function progressRecord({ progress, startedMs }: Replication): z.input<typeof progressSchema> {
  const { round, consistency, equal, writes, bytesOnWire } = progress;
  return {
    ...{ round, consistency, equal, writes },
    bytes_on_wire: bytesOnWire,
    started_ms: startedMs ?? null,
  };
}

function errorRecord({ code, message, options: { status } }: Problem) {
  return { code, detail: message, ...(status !== undefined && { status }) };
}
