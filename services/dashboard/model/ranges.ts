// SPDX-License-Identifier: Apache-2.0
import type { Range, Replication, Stream } from '../../client/types.ts';
import type { Device, Transfer } from './transfer.ts';

/** What is done to bytes of a device. */
export type Use = 'read' | 'write' | 'read_later' | 'write_later';

/** Bytes of a device that somebody touches, and how many of them, from their start, are done. */
export interface UsedRange extends Range {
  use: Use;
  done: number;
  /** The id of the transfer, the replication, or the request of an upload or a download. */
  user: string;
}

/** What is wrong with bytes: they cannot be read, or are neither what they were nor what they are to be. */
export type Fault = 'bad' | 'inconsistent';

export interface FaultyRange extends Range {
  fault: Fault;
  /** The id of the replication that left it inconsistent. */
  user?: string | undefined;
}

export function faultsOf({ bad_blocks: bad, inconsistent }: Device): FaultyRange[] {
  return [
    ...bad.map(({ offset, size }) => ({ offset, size, fault: 'bad' as const })),
    ...inconsistent.map(({ offset, size, replication }) => ({
      ...{ offset, size, user: replication, fault: 'inconsistent' as const },
    })),
  ];
}

/** The bytes that a replication which is not over writes: blocks in about the order of their offsets. */
export function replicatedOn(device: string, replication: Replication): UsedRange[] {
  const { status, dst_device_name: name, dst_offset: offset, size, id } = replication;
  if (name !== device || (status !== 'running' && status !== 'queued')) return [];
  const use = status === 'queued' ? 'write_later' : 'write';
  return [{ offset, size, use, done: replication.bytes_completed, user: id }];
}

/** The bytes of an upload or a download. */
export function streamedOn(device: string, stream: Stream): UsedRange[] {
  if (stream.device_name !== device) return [];
  const { offset, size, bytes_completed: done, request_id: user, direction, status } = stream;
  const use = direction === 'download' ? 'read' : status === 'queued' ? 'write_later' : 'write';
  return [{ offset, size, done, use, user }];
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
  const { status } = transfer;
  const later = status === 'queued' || status === 'accepted';
  if (status !== 'running' && !later) return [];
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
        ...{ offset, size, done, user: transfer.id },
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

/** All bytes that somebody uses in one way, from the first to the last, as one entry of a list. */
export interface UseSummary extends Range {
  use: Use;
  user: string;
  pieces: number;
}

export function summarise(ranges: readonly UsedRange[]): UseSummary[] {
  const found = new Map<string, UseSummary>();
  for (const { use, user, offset, size } of ranges) {
    const key = `${use} ${user}`;
    const known = found.get(key);
    if (known === undefined) {
      found.set(key, { use, user, offset, size, pieces: 1 });
      continue;
    }
    const end = Math.max(known.offset + known.size, offset + size);
    known.offset = Math.min(known.offset, offset);
    known.size = end - known.offset;
    known.pieces++;
  }
  return [...found.values()];
}
