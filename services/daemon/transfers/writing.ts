// SPDX-License-Identifier: Apache-2.0
import type { Writing, WrittenRange } from '../devices/written.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

/** What a transfer writes. */
export function writingOf({ id, plan }: Pick<Transfer, 'id' | 'plan'>): Writing {
  const { operation, source, destination } = plan;
  return {
    device: destination,
    // Nobody asks for those of 4096 segments unless some bytes are inconsistent.
    get ranges() {
      return operation === 'copy' ? copiedRanges(plan) : filledRanges(plan);
    },
    copy: operation === 'copy' ? { id, source } : undefined,
  };
}

/** One for each segment: some may copy inconsistent bytes, and others not. */
function copiedRanges({ segments }: TransferPlan): WrittenRange[] {
  return Array.from(segments, ({ src_offset: sourceOffset, dst_offset: offset, size }) => {
    return { offset, size, sourceOffset };
  });
}

/** Segments that lie one behind the other, as most do, make one range. */
function filledRanges({ segments }: TransferPlan): WrittenRange[] {
  const ranges: WrittenRange[] = [];
  for (const { dst_offset: offset, size } of segments) {
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.size === offset) last.size += size;
    else ranges.push({ offset, size });
  }
  return ranges;
}
