// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { meaningOf } from '../../daemon/transfers/request.ts';
import type { FleetTransferRequest } from './schema.ts';

/** What tells whether two requests mean the same, however they were written. */
export function digestOf(request: FleetTransferRequest): string {
  const { labels, ...meaning } = meaningOf(request);
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify([request.host, meaning, sorted]);
  return createHash('sha256').update(text).digest('base64url');
}
