// SPDX-License-Identifier: Apache-2.0
import type { z } from 'zod';
import type { ByteRange } from '../../base/byte-range.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Row } from '../journal/stored-rows.ts';
import { Shared } from '../transfers/record.ts';
import { PART_BLOCKS } from './block-set.ts';
import type { Mark } from './consistency.ts';
import { InconsistentCopy } from './inconsistent.ts';
import { Replication } from './replication.ts';
import {
  acceptedSchema,
  COPIED,
  COPY,
  changedSchema,
  copySchema,
  endedSchema,
  partsOf,
  progressSchema,
  rangesSchema,
} from './rows.ts';
import { MAX_BLOCKS } from './schema.ts';

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
    const [id, part] = partsOf(key);
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
  if (replication.finished) return true;
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
