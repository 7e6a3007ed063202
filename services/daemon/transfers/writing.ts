// SPDX-License-Identifier: Apache-2.0
import type { Writing, WrittenRange } from '../devices/written.ts';
import type { Transfer } from './transfer.ts';

/** What a transfer writes. Segments that lie one behind the other, as most do, make one range. */
export function writingOf({ id, plan }: Pick<Transfer, 'id' | 'plan'>): Writing {
  const { operation, source, destination, segments } = plan;
  const copies = operation === 'copy';
  const ranges: WrittenRange[] = [];
  let last: WrittenRange | undefined;
  for (const { src_offset, dst_offset: offset, size } of segments) {
    const sourceOffset = copies ? src_offset : undefined;
    if (last !== undefined && isBehind(last, offset, sourceOffset)) {
      last.size += size;
    } else {
      last = { offset, size, sourceOffset };
      ranges.push(last);
    }
  }
  return { device: destination, ranges, copy: copies ? { id, source } : undefined };
}

function isBehind(range: WrittenRange, offset: number, sourceOffset: number | undefined): boolean {
  const sourceEnd = range.sourceOffset === undefined ? undefined : range.sourceOffset + range.size;
  return offset === range.offset + range.size && sourceOffset === sourceEnd;
}
