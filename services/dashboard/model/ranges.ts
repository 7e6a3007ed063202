// SPDX-License-Identifier: Apache-2.0
import type { Range, Transfer } from '../../client/types.ts';

/** What is done to bytes of a device. */
export type Use = 'read' | 'write' | 'read_later' | 'write_later';

/** Bytes of a device that a transfer touches, and how many of them, from their start, are done. */
export interface UsedRange extends Range {
  use: Use;
  done: number;
  transfer: string;
}

type Placed = Pick<
  Transfer,
  | 'id'
  | 'status'
  | 'operation'
  | 'device_name'
  | 'dst_device_name'
  | 'src_offset'
  | 'dst_offset'
  | 'size'
  | 'bytes_completed'
  | 'segments'
>;

interface Piece {
  src: number | undefined;
  dst: number;
  size: number;
}

/** The bytes of a device that a transfer which is not over reads and writes, or will. */
export function rangesOn(device: string, transfer: Placed): UsedRange[] {
  if (transfer.status !== 'running' && transfer.status !== 'queued') return [];
  const later = transfer.status === 'queued';
  const reads = transfer.operation !== 'fill' && transfer.device_name === device;
  const touchesDestination = transfer.dst_device_name === device;
  const onDestination = transfer.operation === 'compare' ? 'read' : 'write';
  const ranges: UsedRange[] = [];
  let left = transfer.bytes_completed;
  for (const { src, dst, size } of piecesOf(transfer)) {
    const done = Math.min(size, left);
    left -= done;
    const add = (offset: number, use: 'read' | 'write') =>
      ranges.push({
        ...{ offset, size, done, transfer: transfer.id },
        use: later ? `${use}_later` : use,
      });
    if (reads && src !== undefined) add(src, 'read');
    if (touchesDestination) add(dst, onDestination);
  }
  return ranges;
}

function piecesOf({ segments, src_offset: src, dst_offset: dst, size }: Placed): Piece[] {
  if (dst !== null) return [{ src: src ?? undefined, dst, size }];
  return (segments ?? []).map((one) => ({
    src: one.src_offset,
    dst: one.dst_offset,
    size: one.size,
  }));
}

/** Those that have bytes in a part of the device, in order of offset. */
export function within(ranges: readonly UsedRange[], { offset, size }: Range): UsedRange[] {
  return ranges
    .filter((one) => one.offset < offset + size && one.offset + one.size > offset)
    .sort((a, b) => a.offset - b.offset);
}

/** All bytes that a transfer uses in one way, from the first to the last, as one entry of a list. */
export interface UseSummary extends Range {
  use: Use;
  transfer: string;
  pieces: number;
}

export function summarise(ranges: readonly UsedRange[]): UseSummary[] {
  const found = new Map<string, UseSummary>();
  for (const { use, transfer, offset, size } of ranges) {
    const key = `${use} ${transfer}`;
    const known = found.get(key);
    if (known === undefined) {
      found.set(key, { use, transfer, offset, size, pieces: 1 });
      continue;
    }
    const end = Math.max(known.offset + known.size, offset + size);
    known.offset = Math.min(known.offset, offset);
    known.size = end - known.offset;
    known.pieces++;
  }
  return [...found.values()];
}
