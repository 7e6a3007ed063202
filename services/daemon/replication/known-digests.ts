// SPDX-License-Identifier: Apache-2.0

import { DIGEST_SIZE } from '../../base/digest.ts';
import { BlockSet } from './block-set.ts';
import { digestAt, runsWhere } from './blocks.ts';

/** How many bytes all replications together may keep: enough for 2 TiB in blocks of 1 MiB. */
const MAX_BYTES = 64 * 2 ** 20;

/** Memory for {@link KnownDigests} of all replications. */
export class DigestMemory {
  #free = MAX_BYTES;

  /** @param count of blocks @returns undefined if the memory is used up */
  take(count: number): KnownDigests | undefined {
    const bytes = count * DIGEST_SIZE;
    if (bytes > this.#free) return undefined;
    this.#free -= bytes;
    return new KnownDigests(count, () => {
      this.#free += bytes;
    });
  }
}

/**
 * The digests of the destination's blocks that were hashed when they arrived, and whose checksums were right
 * after their flush. Nothing else writes there, so the proof need not read them again.
 */
export class KnownDigests {
  readonly #known: BlockSet;
  readonly #digests: Uint8Array;
  readonly #onEnd: () => void;

  constructor(count: number, onEnd: () => void) {
    this.#known = new BlockSet(count);
    this.#digests = new Uint8Array(count * DIGEST_SIZE);
    this.#onEnd = onEnd;
  }

  /** @param digests of the blocks from `first` on */
  add(first: number, digests: Uint8Array): void {
    this.#digests.set(digests, first * DIGEST_SIZE);
    const end = first + digests.length / DIGEST_SIZE;
    for (let block = first; block < end; block++) this.#known.add(block);
  }

  /** They are about to be written. */
  delete(first: number, count: number): void {
    for (let block = first; block < first + count; block++) this.#known.delete(block);
  }

  /** How many of these blocks are known. */
  countIn(first: number, count: number): number {
    return this.#known.countIn(first, count);
  }

  /** The digests of all of these blocks. @param read computes those of blocks that are not known */
  async of(
    first: number,
    count: number,
    read: (first: number, count: number) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const found = digestAt(this.#digests, first, count).slice();
    for (const [at, length] of runsWhere(count, (index) => !this.#known.has(first + index))) {
      found.set(await read(first + at, length), at * DIGEST_SIZE);
    }
    return found;
  }

  /** Gives the memory back. */
  end(): void {
    this.#onEnd();
  }
}
