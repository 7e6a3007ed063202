// SPDX-License-Identifier: Apache-2.0

/** One contiguous piece, in bytes; named as in the HTTP contract, which passes it through. */
export interface Segment {
  src_offset: number;
  dst_offset: number;
  size: number;
}

/** As a request has it: a fill's has no source. */
export type GivenSegment = Omit<Segment, 'src_offset'> & { src_offset?: number | undefined };

/** Numbers of a segment. */
const WIDTH = 3;

/**
 * Segments in their order, as numbers one behind the other: 4096 objects would take V8 as long to make and to
 * collect as the bytes take to be copied.
 */
export class SegmentList {
  /** Of each its source's offset, its destination's and its size. */
  readonly numbers: Float64Array;
  readonly length: number;
  /** Those of a fill have none, and offset 0 in its place. */
  readonly hasSources: boolean;

  /** @param numbers three for each; not copied */
  constructor(numbers: Float64Array, hasSources = true) {
    this.numbers = numbers;
    this.length = numbers.length / WIDTH;
    this.hasSources = hasSources;
  }

  static of(...segments: readonly Segment[]): SegmentList {
    return SegmentList.from(segments);
  }

  static from(segments: readonly GivenSegment[], hasSources = true): SegmentList {
    const numbers = new Float64Array(WIDTH * segments.length);
    let at = 0;
    for (const { src_offset = 0, dst_offset, size } of segments) {
      numbers[at++] = src_offset;
      numbers[at++] = dst_offset;
      numbers[at++] = size;
    }
    return new SegmentList(numbers, hasSources);
  }

  source(index: number): number {
    return this.numbers[WIDTH * index] as number;
  }

  destination(index: number): number {
    return this.numbers[WIDTH * index + 1] as number;
  }

  size(index: number): number {
    return this.numbers[WIDTH * index + 2] as number;
  }

  /** Of all together. */
  get bytes(): number {
    let bytes = 0;
    for (let index = 0; index < this.length; index++) bytes += this.size(index);
    return bytes;
  }

  /** The index of the first that passes; -1: none does. */
  findIndex(passes: (source: number, destination: number, size: number) => boolean): number {
    for (let index = 0; index < this.length; index++) {
      if (passes(this.source(index), this.destination(index), this.size(index))) return index;
    }
    return -1;
  }

  get(index: number): Segment {
    return {
      src_offset: this.source(index),
      dst_offset: this.destination(index),
      size: this.size(index),
    };
  }

  *[Symbol.iterator](): Generator<Segment, void, void> {
    for (let index = 0; index < this.length; index++) yield this.get(index);
  }
}
