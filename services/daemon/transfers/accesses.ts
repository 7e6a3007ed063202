// SPDX-License-Identifier: Apache-2.0
import type { SegmentList } from '../../base/segments.ts';
import type { Access } from '../order/precedence.ts';
import type { TransferPlan } from './transfer.ts';

/** The bytes that a transfer touches. */
export function accessesOf({ operation, source, destination, segments }: TransferPlan): Access[] {
  const accesses: Access[] = [];
  if (operation !== 'fill') addAccesses(accesses, segments, 'source', source.handle, false);
  addAccesses(accesses, segments, 'destination', destination.handle, operation !== 'compare');
  return accesses;
}

/** Segments that lie one behind the other, as most do, make one access. */
function addAccesses(
  accesses: Access[],
  segments: SegmentList,
  side: 'source' | 'destination',
  device: number,
  write: boolean,
): void {
  let last: Required<Access> | undefined;
  for (let index = 0; index < segments.length; index++) {
    const offset = side === 'source' ? segments.source(index) : segments.destination(index);
    const size = segments.size(index);
    if (last !== undefined && offset === last.offset + last.size) {
      last.size += size;
      last.pieces++;
    } else {
      last = { device, offset, size, write, pieces: 1 };
      accesses.push(last);
    }
  }
}
