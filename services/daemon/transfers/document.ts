// SPDX-License-Identifier: Apache-2.0
import { crc32cText } from '../../base/crc32c.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { problemDetails } from '../../http/problems/problem.ts';
import { durabilityOf } from '../devices/durability.ts';
import type { BasicTransferDocument, TransferDocument, WaitingFor } from './schema.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

/** What the next daemon is to run. */
const IN_JOURNAL: WaitingFor = { reason: 'journal' };

/** A transfer as a client that may see it sees it: whose it is only if it sees everybody's. */
export function documentFor(viewer: Viewer, transfer: Transfer): TransferDocument {
  return Object.assign(documentOf(transfer), ownerFor(viewer, transfer));
}

/** The same without segments, which may be thousands, and without timings. */
export function basicDocumentFor(viewer: Viewer, transfer: Transfer): BasicTransferDocument {
  return Object.assign(basicDocumentOf(transfer), ownerFor(viewer, transfer));
}

function ownerFor(viewer: Viewer, { origin: { client } }: Transfer) {
  return seesAllTransfers(viewer) ? { client } : undefined;
}

/** A transfer as its own client sees it. */
export function documentOf(transfer: Transfer): TransferDocument {
  const { plan, timings } = transfer;
  const segments = plan.segmented ? shownSegments(plan) : null;
  return Object.assign(basicDocumentOf(transfer), { segments, timings });
}

function basicDocumentOf(transfer: Transfer): BasicTransferDocument {
  const { plan, settings, origin, error } = transfer;
  const [only] = plan.segmented ? [] : [plan.segments.get(0)];
  const copyNs = transfer.report?.copyNs ?? 0;
  return {
    id: transfer.id,
    status: transfer.status,
    waiting_for: transfer.status === 'queued' ? (transfer.place?.waitingFor ?? IN_JOURNAL) : null,
    operation: plan.operation,
    device_name: plan.source.name,
    dst_device_name: plan.destination.name,
    src_offset: only !== undefined && plan.segments.hasSources ? only.src_offset : null,
    dst_offset: only?.dst_offset ?? null,
    size: plan.bytes,
    pattern: plan.pattern ?? null,
    engine: transfer.choice.engine,
    engine_reason: transfer.choice.reason,
    channels: [...transfer.channels],
    retries: transfer.retries,
    priority: settings.priority,
    timeout_ms: settings.timeoutMs ?? null,
    bytes_completed: transfer.bytesCompleted,
    progress: transfer.bytesCompleted / plan.bytes,
    durability: durabilityOf(plan.destination, plan.flush, transfer.status === 'succeeded'),
    verification: verificationOf(transfer),
    comparison: comparisonOf(transfer),
    created_at: transfer.createdAt,
    started_at: transfer.startedAt,
    finished_at: transfer.finishedAt,
    throughput_bytes_per_second:
      copyNs === 0 ? 0 : Math.round((transfer.bytesCompleted * 1e9) / copyNs),
    labels: settings.labels,
    depends_on: plan.dependsOn,
    traceparent: origin.trace?.traceparent ?? null,
    error: error === undefined ? null : problemDetails(error, origin.requestId),
  };
}

function verificationOf({
  plan,
  report,
  status,
  error,
}: Transfer): TransferDocument['verification'] {
  if (!plan.verify || report === undefined) return null;
  const compared = status === 'succeeded' || error?.code === 'verify_mismatch';
  if (!compared) return null;
  return {
    method: 'crc32c',
    segments: status === 'succeeded' ? plan.segments.length : report.segment + 1,
    src: crc32cText(report.sourceCrc),
    dst: crc32cText(report.destinationCrc),
  };
}

function comparisonOf({ plan, report, status }: Transfer): TransferDocument['comparison'] {
  const { operation, segments } = plan;
  if (operation !== 'compare' || status !== 'succeeded') return null;
  const { segment = 0, difference } = report ?? {};
  if (difference === undefined) return { equal: true, first_difference: null };
  const { src_offset, dst_offset } = segments.get(segment);
  return {
    equal: false,
    first_difference: {
      segment,
      src_offset: src_offset + difference,
      dst_offset: dst_offset + difference,
    },
  };
}

/** The segments as a client gives them, and sees them again. */
export function shownSegments({ segments }: Pick<TransferPlan, 'segments'>) {
  if (segments.hasSources) return [...segments];
  return Array.from(segments, ({ dst_offset, size }) => ({ dst_offset, size }));
}
