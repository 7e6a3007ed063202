// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import { DIGEST_SIZE } from '../../base/digest.ts';

/** A run of blocks, with the digests that they should have. */
export interface Run {
  /** The number of the first one. */
  first: number;
  count: number;
  /** The digest of each block, concatenated. */
  digests: Uint8Array;
}

/** A range that is cut into blocks, of which the last may be shorter. */
export class Blocks {
  /** In bytes. */
  readonly size: number;
  readonly blockSize: number;
  /** How many there are. */
  readonly count: number;

  constructor(size: number, blockSize: number) {
    this.size = size;
    this.blockSize = blockSize;
    this.count = Math.ceil(size / blockSize);
  }

  /** Where `count` blocks from `first` on lie, from the range's beginning. */
  rangeOf(first: number, count: number): ByteRange {
    const offset = first * this.blockSize;
    return { offset, size: Math.min(count * this.blockSize, this.size - offset) };
  }

  /** Cuts the blocks from `first` on, up to `end`, into runs of at most `longest` blocks. */
  *cut(first: number, end: number, longest: number): Generator<[first: number, count: number]> {
    for (let at = first; at < end; at += longest) yield [at, Math.min(longest, end - at)];
  }
}

/** Whether the digest numbered `index` is the same in both. */
export function sameDigest(a: Uint8Array, b: Uint8Array, index: number): boolean {
  return Buffer.compare(digestAt(a, index), digestAt(b, index)) === 0;
}

/** `count` of the digests from the one numbered `first` on. */
export function digestAt(digests: Uint8Array, first: number, count = 1): Uint8Array {
  return digests.subarray(first * DIGEST_SIZE, (first + count) * DIGEST_SIZE);
}

/** Runs of numbers below `count` for which `test` holds. */
export function* runsWhere(
  count: number,
  test: (index: number) => boolean,
): Generator<[first: number, length: number]> {
  for (let first = 0; first < count; first++) {
    if (!test(first)) continue;
    let end = first + 1;
    while (end < count && test(end)) end++;
    yield [first, end - first];
    first = end;
  }
}
