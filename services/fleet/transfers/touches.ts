// SPDX-License-Identifier: Apache-2.0
import { touchesOfAll } from '../../daemon/transfers/batch.ts';
import { touchesOf } from '../../daemon/transfers/request.ts';
import type { HostTouches } from '../access/hosts.ts';
import { type FleetTransferRequest, isReplication } from './schema.ts';

/** The bytes that a request names, on their hosts. */
export function touchesOnHosts(request: FleetTransferRequest): HostTouches {
  const touches = touchesOf(request);
  return onHosts(touches, () => request);
}

/** The same of a batch, one behind the other. */
export function touchesOfBatch(requests: readonly FleetTransferRequest[]) {
  const { touches, ownerOf, pointerOf } = touchesOfAll(requests);
  const ownerAt = (index: number) => requests[ownerOf(index)] as FleetTransferRequest;
  return { touches: onHosts(touches, ownerAt), pointerOf };
}

function onHosts(
  touches: ReturnType<typeof touchesOf>,
  requestOf: (index: number) => FleetTransferRequest,
): HostTouches {
  return {
    length: touches.length,
    at(index) {
      const touch = touches.at(index);
      if (touch === undefined) return undefined;
      const request = requestOf(index);
      const { host, dst_host = host } = request;
      return { ...touch, host: touch.write && isReplication(request) ? dst_host : host };
    },
  };
}
