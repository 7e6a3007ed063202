// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import type { ByteRange } from '../../base/byte-range.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemCodeSchema } from '../../http/problems/schema.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Rows } from '../journal/store.ts';
import type { Row } from '../journal/stored-rows.ts';
import { Shared } from '../transfers/record.ts';
import { deviceRecord, deviceSchema } from '../transfers/rows.ts';
import { ENDS } from '../transfers/schema.ts';
import { PART_BLOCKS } from './block-set.ts';
import type { Mark } from './consistency.ts';
import { InconsistentCopy } from './inconsistent.ts';
import { type Outcome, Replication, type Settings } from './replication.ts';
import { CONSISTENCIES, MAX_BLOCKS, replicationRequestSchema } from './schema.ts';

/**
 * A replication's rows in the journal, under `replication/` and its id: what was accepted; its changed
 * settings, in two rows that are written in turn, so that a refused change leaves the one before; its
 * progress; which blocks are copied and flushed, in parts; its outcome; which bytes it left inconsistent
 * that nothing has written since; and for each transfer that copied such bytes, where those copies are.
 */
const KEY = /^replication\/([0-9a-f-]{36})\/(\w+)$/;
const keyOf = (id: string, part: string) => `replication/${id}/${part}`;
const COPIED = 'copied_';
/** The transfer's id follows. */
const COPY = 'copy_';
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

/** @param keys all of one replication */
export function hasNotEnded(keys: readonly string[]): boolean {
  return !keys.some((key) => key.endsWith('/ended'));
}

export function hasLeftInconsistent(keys: readonly string[]): boolean {
  return keys.some((key) => key.endsWith('/inconsistent') || key.includes(`/${COPY}`));
}

const acceptedSchema = z.object({
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

const changedSchema = z.object({
  number: z.int().min(1),
  bytes_per_second: replicationRequestSchema.shape.bytes_per_second,
  priority: replicationRequestSchema.shape.priority,
  timeout_ms: z.int().nullable(),
  labels: z.record(z.string(), z.string()),
});

const progressSchema = z.object({
  round: z.int().min(0),
  consistency: z.enum(CONSISTENCIES),
  equal: z.int().min(0),
  writes: z.int().min(0),
  bytes_on_wire: z.int().min(0),
  started_ms: z.number().nullable(),
});

const endedSchema = progressSchema.extend({
  status: z.enum(ENDS),
  error: z
    .object({ code: problemCodeSchema, detail: z.string(), status: z.int().optional() })
    .nullable(),
  /** How many blocks were copied: which ones is not kept. */
  copied: z.int().min(0),
  finished_ms: z.number(),
  finished_elapsed_ms: z.number(),
});

const rangesSchema = z
  .array(z.tuple([z.int().min(0), z.int().min(1)]))
  .transform((ranges) => ranges.map(([offset, size]): ByteRange => ({ offset, size })));

const copySchema = z.object({ destination: deviceSchema, ranges: rangesSchema });

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

/** A replication that an earlier daemon accepted. */
export interface EarlierReplication {
  replication: Replication;
  /** What it left inconsistent and nothing has written since. */
  inconsistent: ByteRange[];
  /** Copies of its bytes that are inconsistent, too. */
  copies: Mark[];
}

/**
 * Reads the replications of earlier daemons, each with its device as it was then.
 *
 * @param rows in the order of their keys
 * @param onUnreadable receives the key of each row that this version cannot read, and keeps
 */
export function readReplications(
  rows: Iterable<Row>,
  clock: ElapsedClock,
  onUnreadable: (key: string) => void,
): EarlierReplication[] {
  const replications = new Map<string, Replication>();
  const inconsistent = new Map<string, ByteRange[]>();
  const copies = new Map<string, Mark[]>();
  const shared = new Shared();
  for (const [key, text] of rows) {
    const [, id = '', part = ''] = KEY.exec(key) ?? [];
    const known = replications.get(id);
    const row = part.startsWith(COPIED) ? text : parseJson(text);
    if (part === 'accepted') {
      const replication = readAccepted(id, row, clock, shared);
      if (replication === undefined) onUnreadable(key);
      else replications.set(id, replication);
    } else if (part === 'inconsistent' || part === 'overwritten') {
      const { data } = rangesSchema.safeParse(row);
      if (data === undefined) onUnreadable(key);
      else inconsistent.set(id, data);
    } else if (part.startsWith(COPY)) {
      const { data } = copySchema.safeParse(row);
      if (data === undefined || known === undefined) onUnreadable(key);
      else {
        const copyId = part.slice(COPY.length).replaceAll('_', '-');
        const copy = new InconsistentCopy(copyId, known, shared.device(data.destination));
        copies.set(id, [...(copies.get(id) ?? []), { copy, ranges: data.ranges }]);
      }
    } else if (known === undefined || !readPart(known, part, row)) {
      onUnreadable(key);
    }
  }
  return Array.from(replications.values(), (replication) => {
    const { request, progress } = replication;
    // Unfinished ones, and those of earlier versions, have no row of it.
    const all = [{ offset: request.dst_offset, size: request.size }];
    const ranges = inconsistent.get(replication.id) ?? all;
    return {
      replication,
      inconsistent: progress.consistency === 'inconsistent' ? ranges : [],
      copies: copies.get(replication.id) ?? [],
    };
  });
}

function readAccepted(
  id: string,
  row: unknown,
  clock: ElapsedClock,
  shared: Shared,
): Replication | undefined {
  const { data } = acceptedSchema.safeParse(row);
  if (data === undefined) return undefined;
  const { request, destination, request_id: requestId, client, key, ...rest } = data;
  const { traceparent, tracestate, accepted_ms: wallMs, accepted_elapsed_ms: elapsedMs } = rest;
  const trace =
    traceparent === undefined
      ? undefined
      : { traceparent, ...(tracestate !== undefined && { tracestate }) };
  const origin = { requestId, client, key: key ?? undefined, trace };
  const device = shared.device(destination);
  return new Replication(id, request, device, origin, clock, { elapsedMs, wallMs });
}

/** @returns whether it could be read */
function readPart(replication: Replication, part: string, row: unknown): boolean {
  const { progress } = replication;
  // The row of its end has everything.
  if (replication.over) return true;
  if (part.startsWith(COPIED)) {
    const number = Number(part.slice(COPIED.length));
    if (!(number <= MAX_BLOCKS / PART_BLOCKS)) return false;
    progress.copied.restore(number, row as string);
    return true;
  }
  if (part === 'changed_0' || part === 'changed_1') {
    const { data } = changedSchema.safeParse(row);
    if (data !== undefined && data.number > replication.changes) {
      const { number, timeout_ms, ...settings } = data;
      replication.changes = number;
      replication.settings = { ...settings, timeout_ms: timeout_ms ?? undefined };
    }
    return data !== undefined;
  }
  const schema = part === 'ended' ? endedSchema : progressSchema;
  const { data } = schema.safeParse(row);
  if (data === undefined || !['ended', 'progress'].includes(part)) return false;
  progress.round = data.round;
  progress.consistency = data.consistency;
  progress.equal = data.equal;
  progress.writes = data.writes;
  progress.bytesOnWire = data.bytes_on_wire;
  replication.startedMs = data.started_ms ?? undefined;
  if ('status' in data) readEnd(replication, data as z.output<typeof endedSchema>);
  return true;
}

function readEnd(replication: Replication, ended: z.output<typeof endedSchema>): void {
  const { status, error, copied, finished_ms, finished_elapsed_ms, started_ms } = ended;
  const options = error?.status === undefined ? {} : { status: error.status };
  replication.progress.copied.forget(copied);
  replication.finish({
    status,
    error: error === null ? undefined : new Problem(error.code, error.detail, options),
    startedMs: started_ms ?? undefined,
    finishedMs: finished_ms,
    finishedElapsedMs: finished_elapsed_ms,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
