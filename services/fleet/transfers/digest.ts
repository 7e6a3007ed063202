// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { replicationRequestSchema } from '../../daemon/replication/schema.ts';
import { meaningOf } from '../../daemon/transfers/request.ts';
import { type FleetTransferRequest, isReplication, replicationOf } from './schema.ts';

/** What tells whether two requests mean the same, however they were written. */
export function digestOf(request: FleetTransferRequest): string {
  const { labels, ...meaning } = meaningOf(request);
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify([request.host, meaning, sorted, ...replicationMeaning(request)]);
  return createHash('sha256').update(text).digest('base64url');
}

/** What a replication means beside that, with its defaults. */
function replicationMeaning(request: FleetTransferRequest): unknown[] {
  if (!isReplication(request)) return [];
  const parsed = replicationRequestSchema.parse(replicationOf(request));
  return [request.dst_host, parsed.mode, parsed.block_size, parsed.bytes_per_second];
}
