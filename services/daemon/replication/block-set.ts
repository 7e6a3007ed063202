// SPDX-License-Identifier: Apache-2.0

/** How many blocks one row of the journal has: 2 KiB of bits. */
export const PART_BLOCKS = 2 ** 14;
const PART_BYTES = PART_BLOCKS / 8;

/** A set of block numbers, one bit each, which is kept in the journal in parts. */
export class BlockSet {
  readonly #size: number;
  /** Allocated on first use: replications that wait or have finished need none. */
  #made: Uint8Array | undefined;
  readonly #changed = new Set<number>();
  #count = 0;

  /** @param size how many blocks there are */
  constructor(size: number) {
    this.#size = size;
  }

  /** How many are in it. */
  get count(): number {
    return this.#count;
  }

  get #bits(): Uint8Array {
    this.#made ??= new Uint8Array(Math.ceil(this.#size / 8));
    return this.#made;
  }

  has(block: number): boolean {
    return ((this.#bits[block >>> 3] as number) & (1 << (block & 7))) !== 0;
  }

  /** @returns whether it was not in it before */
  add(block: number): boolean {
    if (this.has(block)) return false;
    (this.#bits[block >>> 3] as number) |= 1 << (block & 7);
    this.#noteChange(block, 1);
    return true;
  }

  delete(block: number): void {
    if (!this.has(block)) return;
    (this.#bits[block >>> 3] as number) &= ~(1 << (block & 7));
    this.#noteChange(block, -1);
  }

  /** How many of `length` blocks from `first` on are in it. */
  countIn(first: number, length: number): number {
    let count = 0;
    for (let block = first; block < first + length; block++) if (this.has(block)) count++;
    return count;
  }

  /** Runs of at most `longest` blocks that are not in it: the first block, and how many. */
  *missing(longest: number): Generator<[first: number, length: number]> {
    for (let first = 0; first < this.#size; first++) {
      if (this.has(first)) continue;
      let end = first + 1;
      while (end < this.#size && end - first < longest && !this.has(end)) end++;
      yield [first, end - first];
      first = end - 1;
    }
  }

  /** Forgets which blocks are in it. @param count how many those were */
  forget(count = this.#count): void {
    this.#made = undefined;
    this.#changed.clear();
    this.#count = count;
  }

  /** The parts that have changed since they were last taken, as text, by number. */
  takeChanged(): Map<number, string> {
    const parts = Array.from(this.#changed, (part): [number, string] => {
      const bytes = this.#bits.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
      return [part, Buffer.from(bytes).toString('base64')];
    });
    this.#changed.clear();
    return new Map(parts);
  }

  /** Replaces a part; bits beyond the end are ignored. */
  restore(part: number, text: string): void {
    const bytes = Buffer.from(text, 'base64');
    const first = part * PART_BLOCKS;
    const end = Math.min(first + bytes.length * 8, this.#bits.length * 8);
    for (let block = first; block < end; block++) {
      const bit = (bytes[(block - first) >>> 3] as number) & (1 << (block & 7));
      if (bit !== 0) this.add(block);
      else this.delete(block);
    }
    this.#changed.delete(part);
  }

  #noteChange(block: number, by: 1 | -1): void {
    this.#count += by;
    this.#changed.add(Math.floor(block / PART_BLOCKS));
  }
}
