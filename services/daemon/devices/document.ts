// SPDX-License-Identifier: Apache-2.0
import type { Device } from './device.ts';
import type { DeviceDocument, InconsistentRanges } from './schema.ts';

/** A device as clients see it. */
export function deviceDocument(device: Device, inconsistent: InconsistentRanges): DeviceDocument {
  return {
    name: device.name,
    path: device.path,
    kind: device.kind,
    uuid: device.uuid,
    resource: device.resource,
    size: device.size,
    align: device.align,
    numa_node: device.numaNode,
    persistence_domain: device.persistenceDomain,
    bad_blocks: device.badBlocks,
    state: device.state,
    state_reason: device.stateReason,
    inconsistent,
  };
}
