// SPDX-License-Identifier: Apache-2.0
import type { Replication } from '../../client/node.ts';
import type { HostReport } from '../transfers/schema.ts';

export const REPLICATED = "the destination's daemon reads from its peer what differs";

/** A replication as a host tells it, in the words of a transfer. */
export function transferOf(replication: Replication): HostReport {
  const { id, status, waiting_for, src_device_name, dst_device_name } = replication;
  const { src_offset, dst_offset, size, priority, timeout_ms, bytes_completed } = replication;
  const { progress, durability, created_at, started_at, finished_at } = replication;
  const { labels, traceparent, error } = replication;
  const { mode, block_size, bytes_per_second, blocks, bytes_on_wire, round } = replication;
  const { consistency } = replication;
  const timings = timingsOf(replication);
  const seconds = timings.copy_ns / 1e9;
  return {
    ...{ id, status, waiting_for, operation: 'copy', device_name: src_device_name },
    ...{ dst_device_name, src_offset, dst_offset, size, segments: null, pattern: null },
    ...{ engine: null, engine_reason: REPLICATED, channels: [], retries: 0, priority, timeout_ms },
    ...{ bytes_completed, progress, durability, verification: null, comparison: null },
    ...{ created_at, started_at, finished_at, timings, labels, depends_on: [], traceparent, error },
    throughput_bytes_per_second: seconds > 0 ? Math.round(bytes_completed / seconds) : 0,
    ...{ mode, block_size, bytes_per_second, blocks, bytes_on_wire, round, consistency },
  };
}

/** A daemon measures no phases of a replication: its times have milliseconds. */
function timingsOf({ created_at, started_at, finished_at }: Replication): HostReport['timings'] {
  const between = (from: string | null, to: string | null) =>
    from === null || to === null ? 0 : Math.max(0, Date.parse(to) - Date.parse(from)) * 1e6;
  return {
    queue_ns: between(created_at, started_at),
    copy_ns: between(started_at, finished_at),
    ...{ flush_ns: 0, verify_ns: 0, total_ns: between(created_at, finished_at) },
  };
}
