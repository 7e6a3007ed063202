// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';
import type { Random } from './random.ts';

export const BLOCK = 64 * 1024;
/** Of each device, for each worker; a device has as many for all of them. */
export const BLOCKS = 16;
export const DEVICES = ['dax0.0', 'dax1.0'] as const;

/** What a block is filled with; undefined: it cannot be known. */
type Value = number | undefined;
export type Comparison = TransferDocument['comparison'];

interface Piece {
  from: number;
  to: number;
  blocks: number;
}

/** Devices and blocks, counted from 0 in the region. */
export interface Ranges {
  source: number;
  destination: number;
  pieces: Piece[];
}

/** What must be in a worker's region of two devices. */
export class Region {
  readonly #first: number;
  readonly #values: Value[][] = DEVICES.map(() => Array<Value>(BLOCKS).fill(0));
  #nextValue = 1;

  /** @param index of the region */
  constructor(index: number) {
    this.#first = index * BLOCKS;
  }

  /** One that nothing was filled with before. */
  newValue(): number {
    return this.#first * 2 ** 20 + this.#nextValue++;
  }

  /** Where a block begins in its device. */
  offsetOf(block: number): number {
    return (this.#first + block) * BLOCK;
  }

  valueOf(device: number, block: number): Value {
    return this.#values[device]?.[block];
  }

  /** Each block receives a value, or with `'source'` what its source has. */
  write({ source, destination, pieces }: Ranges, value: Value | 'source'): void {
    const from = this.#values[source] as Value[];
    const to = this.#values[destination] as Value[];
    for (const piece of pieces) {
      const values = from.slice(piece.from, piece.from + piece.blocks);
      for (const [index, copied] of values.entries()) {
        to[piece.to + index] = value === 'source' ? copied : value;
      }
    }
  }

  /** What a compare must find; undefined: it cannot be known. */
  compare({ source, destination, pieces }: Ranges): Comparison | undefined {
    for (const [segment, { from, to, blocks }] of pieces.entries()) {
      for (let block = 0; block < blocks; block++) {
        const one = this.valueOf(source, from + block);
        const other = this.valueOf(destination, to + block);
        if (one === undefined || other === undefined) return undefined;
        if (one === other) continue;
        const [these, those] = [filled(one), filled(other)];
        const at = these.findIndex((byte, index) => byte !== those[index]);
        const first_difference = {
          segment,
          src_offset: this.offsetOf(from + block) + at,
          dst_offset: this.offsetOf(to + block) + at,
        };
        return { equal: false, first_difference };
      }
    }
    return { equal: true, first_difference: null };
  }

  /** @throws AssertionError if a block is not filled with a value */
  checkBlock(device: number, block: number, found: Buffer, value: number): void {
    const what = `worker ${this.#first / BLOCKS}, ${DEVICES[device]}, block ${block}`;
    assert.ok(found.equals(filled(value)), `${what}: ${found.readUInt32LE()}, not ${value}`);
  }
}

/** Up to five pieces, none of which overlaps itself. */
export function randomRanges(random: Random): Ranges {
  const source = random.integer(0, 1);
  const destination = random.integer(0, 1);
  const count = random.integer(1, 3) === 1 ? random.integer(2, 5) : 1;
  const pieces = Array.from({ length: count }, (): Piece => {
    const blocks = random.integer(1, BLOCKS / 2);
    const from = random.integer(0, BLOCKS - blocks);
    let to = random.integer(0, BLOCKS - blocks);
    if (source === destination && Math.abs(to - from) < blocks) {
      to = from >= blocks ? random.integer(0, from - blocks) : from + blocks;
    }
    return to + blocks <= BLOCKS ? { from, to, blocks } : { from: 0, to: BLOCKS - 1, blocks: 1 };
  });
  return { source, destination, pieces };
}

export function filled(value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.writeUInt32LE(value);
  return bytes.fill(bytes.subarray(0, 4));
}
