// SPDX-License-Identifier: Apache-2.0

import { deviceNameOf } from '../../base/device-name.ts';
import type { End } from '../../daemon/transfers/schema.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { type Problem, problemDetails } from '../../http/problems/problem.ts';
import { REPLICATED } from '../hosts/replication-report.ts';
import type { Accepted, EndedRecord, RunningRecord } from './record.ts';
import {
  type FleetFilter,
  type FleetTransfer,
  type HostReport,
  hostsOf,
  isEnd,
  isReplication,
} from './schema.ts';
import type { Settings } from './settings.ts';

/** Of a replication, if its client does not say. */
const DEFAULT_BLOCK = 2 ** 20;

/** What the gateway knows of a transfer beside its record. */
export interface Known {
  /** As its host reported it last. */
  live: HostReport | undefined;
  /** What was changed of it, and is not with its host yet. */
  settings?: Settings | undefined;
  /** Why its host does not have it yet, or cannot tell how it stands. */
  hostAway: string | undefined;
}

/** A transfer that has not ended, as clients see it. */
export function runningDocument(record: RunningRecord, known: Known): FleetTransfer {
  return withSettings(standing(record, known), record, known.settings);
}

function standing(record: RunningRecord, { live, hostAway }: Known): FleetTransfer {
  const { progress } = record;
  if (progress.is === 'accepted') {
    const reason = record.waitsFor.length > 0 ? 'dependencies' : 'host';
    const why = hostAway === undefined ? {} : { why: hostAway };
    return { ...emptyDocument(record), waiting_for: { reason, ...why } };
  }
  const stale = hostAway === undefined ? {} : { stale: true };
  if (live === undefined) {
    return { ...emptyDocument(record), ...stale, status: 'queued', waiting_for: null };
  }
  const document = ownDocument(record, live);
  // An end counts once it is in etcd: until then another gateway would say something else.
  return isEnd(document.status)
    ? { ...document, ...stale, status: 'running', finished_at: null, error: null, comparison: null }
    : { ...document, ...stale };
}

/** What a client sees of it: whose it is only if it sees everybody's. */
export function documentFor(viewer: Viewer, owner: string, document: FleetTransfer): FleetTransfer {
  const { client: _, ...own } = document;
  return seesAllTransfers(viewer) ? { ...own, client: owner } : own;
}

/** The end of a transfer that its host reported. */
export function endByHost(record: Accepted, reported: HostReport): EndedRecord {
  return endedRecord(record, ownDocument(record, reported), false);
}

/** The end of one that its host has not reported, or does not have. */
export function endByFleet(
  record: Accepted,
  { live, settings }: Partial<Pick<Known, 'live' | 'settings'>>,
  status: Exclude<End, 'succeeded'>,
  problem: Problem,
  { refused = false, now = Date.now() } = {},
): EndedRecord {
  const standing = live === undefined ? emptyDocument(record) : ownDocument(record, live);
  const document: FleetTransfer = {
    ...withSettings(standing, record, settings),
    status,
    waiting_for: null,
    finished_at: new Date(now).toISOString(),
    error: problemDetails(problem, record.id),
  };
  return endedRecord(record, document, refused);
}

/**
 * The end of one that was changed before its host had it, and whose host may not have heard of that. Its
 * priority is the one that it ran with.
 */
export function endWithSettings(end: EndedRecord, settings: Settings): EndedRecord {
  const { document } = end;
  const { labels, timeout_ms, bytes_per_second } = settings;
  const limit = document.blocks === undefined ? {} : { bytes_per_second };
  return { ...end, document: { ...document, labels, timeout_ms, ...limit } };
}

function endedRecord(
  { id, client, host }: Accepted,
  document: FleetTransfer,
  refused: boolean,
): EndedRecord {
  return { id, client, host, document, refused };
}

/** What a host tells, under the fleet's id and with the fleet's ids and times. */
function ownDocument(record: Accepted, reported: HostReport): FleetTransfer {
  const { client: _, ...document } = reported;
  return {
    ...document,
    id: record.id,
    ...endsOf(record),
    segments: record.request.segments ?? null,
    created_at: new Date(record.acceptedAt).toISOString(),
    depends_on: record.request.depends_on ?? [],
    traceparent: record.traceparent ?? null,
  };
}

/** The hosts that have its source and, if that is another one, its destination. */
function endsOf({ request }: Accepted) {
  const { host, dst_host } = request;
  return isReplication(request) ? { host, dst_host } : { host };
}

/** With what a client has changed since its host last received it. */
function withSettings(
  document: FleetTransfer,
  { request }: Accepted,
  settings: Settings | undefined,
): FleetTransfer {
  if (settings === undefined) return document;
  const { bytes_per_second, ...others } = settings;
  return { ...document, ...others, ...(isReplication(request) && { bytes_per_second }) };
}

/** As it stands before its host has said anything. */
function emptyDocument(record: Accepted): FleetTransfer {
  const { request, id, acceptedAt, traceparent } = record;
  const { operation, segments } = request;
  const source = deviceNameOf(request.device_name);
  const size = segments?.reduce((sum, each) => sum + each.size, 0) ?? request.size ?? 0;
  return {
    id,
    ...endsOf(record),
    status: 'accepted',
    waiting_for: null,
    operation,
    device_name: source,
    dst_device_name:
      request.dst_device_name === undefined ? source : deviceNameOf(request.dst_device_name),
    src_offset: request.src_offset ?? null,
    dst_offset: request.dst_offset ?? null,
    size,
    segments: segments ?? null,
    pattern: operation === 'fill' ? (request.pattern ?? '00').toLowerCase() : null,
    engine: null,
    engine_reason: isReplication(request) ? REPLICATED : 'its host chooses',
    channels: [],
    retries: 0,
    priority: request.priority,
    timeout_ms: request.timeout_ms ?? null,
    bytes_completed: 0,
    progress: 0,
    durability: {
      requested: operation === 'compare' ? 'none' : (request.durability ?? 'flush'),
      achieved: 'none',
      basis: null,
    },
    verification: null,
    comparison: null,
    created_at: new Date(acceptedAt).toISOString(),
    started_at: null,
    finished_at: null,
    timings: { queue_ns: 0, copy_ns: 0, flush_ns: 0, verify_ns: 0, total_ns: 0 },
    throughput_bytes_per_second: 0,
    labels: request.labels,
    depends_on: request.depends_on ?? [],
    traceparent: traceparent ?? null,
    error: null,
    ...(isReplication(request) && emptyReplication(request, size)),
  };
}

/** What the document of a replication has beside that. */
function emptyReplication(
  { mode = 'delta', block_size = DEFAULT_BLOCK, bytes_per_second = null }: Accepted['request'],
  size: number,
) {
  return {
    ...{ mode, block_size, bytes_per_second, bytes_on_wire: 0, round: 0 },
    blocks: { total: Math.ceil(size / block_size), equal: 0, copied: 0, again: 0 },
    consistency: 'unchanged' as const,
  };
}

/** @returns whether a transfer is one of those that a query is about */
export function matcherOf(query: FleetFilter): (document: FleetTransfer) => boolean {
  const { status, operation, device_name, engine, label, host } = query;
  const { created_after, created_before } = query;
  const device = device_name === undefined ? undefined : deviceNameOf(device_name);
  const labels = label?.map((pair): [string, string] => {
    const colon = pair.indexOf(':');
    return [pair.slice(0, colon), pair.slice(colon + 1)];
  });
  return (document) => {
    const created = Date.parse(document.created_at);
    return (
      (status === undefined || status.includes(document.status)) &&
      (host === undefined || hostsOf(document).includes(host)) &&
      (operation === undefined || document.operation === operation) &&
      (engine === undefined || document.engine === engine) &&
      (created_after === undefined || created >= created_after) &&
      (created_before === undefined || created < created_before) &&
      (device === undefined || [document.device_name, document.dst_device_name].includes(device)) &&
      (labels?.every(([key, value]) => document.labels[key] === value) ?? true)
    );
  };
}
