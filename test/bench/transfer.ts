// SPDX-License-Identifier: Apache-2.0
import type { TransferRequest } from '../../services/daemon/transfers/request-schema.ts';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';

/** An answer such as the daemon gives, of a transfer that nobody made. */
export function aTransfer(id: string, request: TransferRequest): TransferDocument {
  const time = new Date().toISOString();
  const size = request.size ?? 0;
  return {
    id,
    status: 'succeeded',
    waiting_for: null,
    operation: request.operation,
    device_name: request.device_name,
    dst_device_name: request.dst_device_name ?? request.device_name,
    src_offset: request.src_offset ?? null,
    dst_offset: request.dst_offset ?? null,
    size,
    segments: request.segments ? [...request.segments] : null,
    pattern: null,
    engine: 'cpu',
    engine_reason: 'nothing is copied here',
    channels: [],
    retries: 0,
    priority: request.priority,
    timeout_ms: null,
    bytes_completed: size,
    progress: 1,
    durability: { requested: request.durability ?? 'flush', achieved: 'none', basis: null },
    verification: null,
    comparison: null,
    created_at: time,
    started_at: time,
    finished_at: time,
    timings: { queue_ns: 1000, copy_ns: 1000, flush_ns: 0, verify_ns: 0, total_ns: 100_000 },
    throughput_bytes_per_second: 4_096_000_000,
    labels: {},
    depends_on: [],
    traceparent: null,
    error: null,
  };
}
