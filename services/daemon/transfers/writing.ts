// SPDX-License-Identifier: Apache-2.0
import type { Device } from '../devices/device.ts';
import type { Writing, Written, WrittenRange } from '../devices/written.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

/** What a transfer writes. A class: an object with a getter of its own would be a dictionary to V8. */
class TransferWriting implements Written {
  readonly device: Device;
  readonly copy: Writing['copy'];
  readonly flush: boolean;
  readonly #plan: TransferPlan;

  constructor({ id, plan }: Pick<Transfer, 'id' | 'plan'>) {
    this.device = plan.destination;
    this.copy = plan.operation === 'copy' ? { id, source: plan.source } : undefined;
    this.flush = plan.flush;
    this.#plan = plan;
  }

  /** Nobody asks for those of 4096 segments unless some bytes are inconsistent. */
  get ranges(): WrittenRange[] {
    return this.#plan.operation === 'copy' ? copiedRanges(this.#plan) : filledRanges(this.#plan);
  }
}

/** What a transfer writes, and, once it has succeeded, has written. */
export function writingOf(transfer: Pick<Transfer, 'id' | 'plan'>): Written {
  return new TransferWriting(transfer);
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
