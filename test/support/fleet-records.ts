// SPDX-License-Identifier: Apache-2.0
import { TransferIds } from '../../services/base/transfer-ids.ts';
import { Keys } from '../../services/fleet/etcd/keys.ts';
import type { RunningRecord } from '../../services/fleet/transfers/record.ts';
import { fleetTransferRequestSchema } from '../../services/fleet/transfers/schema.ts';

export const keys = new Keys('dmad/');
export const ids = new TransferIds();

/** A transfer that has just been accepted, on hosta. */
export function recordOf(more: object = {}, fields: Partial<RunningRecord> = {}): RunningRecord {
  const request = fleetTransferRequestSchema.parse({
    ...{ host: 'hosta', device_name: 'dax0.0', src_offset: 0, dst_offset: 2 ** 20, size: 4096 },
    ...more,
  });
  return {
    ...{ id: ids.next(), client: 'me', host: 'hosta', request, acceptedAt: Date.now() },
    ...{ waitsFor: [], progress: { is: 'accepted' }, ...fields },
  };
}
