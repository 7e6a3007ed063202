// SPDX-License-Identifier: Apache-2.0
import { noise, type Random } from './random.ts';

const MIB = 2 ** 20;
const NAMES = ['dax0.0', 'dax1.0'] as const;

export interface Segment {
  src_offset: number;
  dst_offset: number;
  size: number;
}

export interface Upload {
  kind: 'upload';
  destination: number;
  offset: number;
  bytes: Buffer;
}

/** What a transfer is asked to do; devices are counted from 0. */
export type TransferOperation =
  | { kind: 'copy'; source: number; destination: number; segments: Segment[] }
  | { kind: 'fill'; destination: number; segments: Segment[]; pattern: string }
  | { kind: 'compare'; source: number; destination: number; segments: Segment[] };

export type Operation = TransferOperation | Upload;

/** What two devices must hold if operations are carried out one after the other. */
export class DeviceModel {
  readonly devices: Buffer[];

  constructor(devices: Buffer[]) {
    this.devices = devices;
  }

  /** @returns what the transfer's document must say */
  apply(operation: Operation): object {
    switch (operation.kind) {
      case 'copy':
        for (const { src_offset, dst_offset, size } of operation.segments) {
          this.#bytes(operation.source).copy(
            this.#bytes(operation.destination),
            ...[dst_offset, src_offset, src_offset + size],
          );
        }
        return { operation: 'copy', pattern: null, comparison: null };
      case 'fill':
        for (const { dst_offset, size } of operation.segments) {
          const pattern = Buffer.from(operation.pattern, 'hex');
          this.#bytes(operation.destination).fill(pattern, dst_offset, dst_offset + size);
        }
        return { operation: 'fill', pattern: operation.pattern, comparison: null };
      case 'compare':
        return { operation: 'compare', pattern: null, comparison: this.#compare(operation) };
      case 'upload':
        operation.bytes.copy(this.#bytes(operation.destination), operation.offset);
        return {};
    }
  }

  #compare({ source, destination, segments }: Operation & { kind: 'compare' }): object {
    const [from, to] = [this.#bytes(source), this.#bytes(destination)];
    for (const [segment, { src_offset, dst_offset, size }] of segments.entries()) {
      const these = from.subarray(src_offset, src_offset + size);
      if (these.equals(to.subarray(dst_offset, dst_offset + size))) continue;
      for (let at = 0; at < size; at++) {
        if (from[src_offset + at] === to[dst_offset + at]) continue;
        const found = { segment, src_offset: src_offset + at, dst_offset: dst_offset + at };
        return { equal: false, first_difference: found };
      }
    }
    return { equal: true, first_difference: null };
  }

  #bytes(device: number): Buffer {
    return this.devices[device] as Buffer;
  }
}

/** In little room, so that nearly all of them touch. */
export function randomOperation(random: Random): Operation {
  if (random.integer(1, 4) > 1) return randomTransfer(random);
  const room = randomRoom(random);
  const bytes = noise(random.logInteger(1, room));
  const destination = random.integer(0, 1);
  return { kind: 'upload', destination, offset: random.integer(0, room - bytes.length), bytes };
}

export function randomTransfer(random: Random): TransferOperation {
  const room = randomRoom(random);
  const source = random.integer(0, 1);
  const destination = random.integer(0, 1);
  const kind = random.pick(['copy', 'fill', 'compare'] as const);
  const segment = (): Segment => {
    const size = random.logInteger(1, room / 2);
    const src_offset = random.integer(0, room - size);
    // A comparison of what is not the same place nearly always ends at once.
    const dst_offset =
      kind === 'compare' && random.integer(0, 1) ? src_offset : random.integer(0, room - size);
    const overlaps = source === destination && Math.abs(src_offset - dst_offset) < size;
    return kind === 'copy' && overlaps ? segment() : { src_offset, dst_offset, size };
  };
  const count = random.integer(1, 3) === 1 ? random.integer(2, 20) : 1;
  const segments = Array.from({ length: count }, segment);
  if (kind !== 'fill') return { kind, source, destination, segments };
  const bytes = random.pick([1, 2, 4, 8, 16, 32, 64]);
  return { kind, destination, segments, pattern: noise(bytes).toString('hex') };
}

function randomRoom(random: Random): number {
  return random.pick([256, 16_384, MIB]);
}

/** Its body in POST /transfers. */
export function bodyOf(operation: TransferOperation): object {
  const { kind, destination } = operation;
  const segments =
    kind === 'fill'
      ? operation.segments.map(({ dst_offset, size }) => ({ dst_offset, size }))
      : operation.segments;
  return {
    operation: kind,
    ...(kind === 'fill'
      ? { device_name: NAMES[destination], pattern: operation.pattern }
      : { device_name: NAMES[operation.source], dst_device_name: NAMES[destination] }),
    ...(segments.length === 1 ? segments[0] : { segments }),
  };
}

/** Fields that change nothing of what it does. */
export function randomOptions({ kind }: TransferOperation, random: Random): object {
  return {
    priority: random.pick(['high', 'normal', 'low']),
    ...(kind !== 'compare' && {
      verify: random.pick(['none', 'crc32c']),
      durability: random.pick(['none', 'flush']),
    }),
  };
}
