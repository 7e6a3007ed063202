// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../http/access/client.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import type { Device } from '../devices/device.ts';
import type { InconsistentRanges } from '../devices/schema.ts';
import { type Inconsistent, originOf } from './inconsistent.ts';

/** How many inconsistent ranges of a device are listed one by one. */
const MAX_LISTED = 1000;

/**
 * The ranges of a device that a client may touch and that are inconsistent, in their order. From a
 * number on they are one range, with what lies between them.
 *
 * @param all those of the device
 */
export function shownRanges(
  device: Device,
  all: readonly Inconsistent[],
  viewer: Viewer & Pick<Client, 'grants'>,
): InconsistentRanges {
  const ranges = all.slice(0, MAX_LISTED).map(({ offset, size, writer }) => {
    const { id, origin } = originOf(writer);
    return { offset, size, ...(seesTransfersOf(viewer, origin.client) && { replication: id }) };
  });
  const [next, last] = [all[MAX_LISTED], all.at(-1)];
  if (next !== undefined && last !== undefined) {
    ranges.push({ offset: next.offset, size: last.offset + last.size - next.offset });
  }
  const { grants } = viewer;
  if (grants === undefined) return ranges;
  return ranges.flatMap((range) =>
    grants.readableIn(device.name, range).map((part) => ({ ...range, ...part })),
  );
}
