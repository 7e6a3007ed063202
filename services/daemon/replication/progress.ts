// SPDX-License-Identifier: Apache-2.0
import { BlockSet } from './block-set.ts';
import type { Blocks } from './blocks.ts';
import type { Consistency } from './schema.ts';

/** A replication's progress: what the journal keeps of it while it runs. */
export class Progress {
  /** See the schema. */
  round = 0;
  consistency: Consistency = 'unchanged';
  /** Blocks that were found equal when they were first compared, and not copied before. */
  equal = 0;
  /** How many times a block was written. */
  writes = 0;
  bytesOnWire = 0;
  /** Blocks that were copied and flushed, with the bytes that the source last had. */
  readonly copied: BlockSet;
  readonly blocks: Blocks;

  constructor(blocks: Blocks) {
    this.blocks = blocks;
    this.copied = new BlockSet(blocks.count);
  }

  /** Whether an earlier run has made any progress. */
  get begun(): boolean {
    return this.consistency !== 'unchanged';
  }

  /** How many times a block was written that had been copied before. */
  get again(): number {
    return Math.max(0, this.writes - this.copied.count);
  }

  /** Bytes of the destination that are known to be equal to the source. */
  get bytesCompleted(): number {
    const { size, blockSize } = this.blocks;
    return Math.min(size, (this.equal + this.copied.count) * blockSize);
  }

  /** All blocks are equal now: those that were not copied were equal before. */
  finish(): void {
    this.equal = this.blocks.count - this.copied.count;
    this.consistency = 'consistent';
  }
}
