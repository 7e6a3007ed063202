// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import { SegmentList } from '../../base/segments.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import { digests } from '../digests/digests.ts';
import { jobProblem } from '../engines/failure.ts';
import { MEMORY } from '../engines/records.ts';
import { BlockSet } from './block-set.ts';
import type { Run as BlockRun } from './blocks.ts';
import { ahead, type Compared, compare, type Sides, takeAll } from './compare.ts';
import { Copier, type CopierOptions } from './copier.ts';
import type { DigestMemory, KnownDigests } from './known-digests.ts';
import type { Progress } from './progress.ts';
import type { Mode } from './schema.ts';

export const MAX_ROUNDS = 5;
/** How many offsets an error names of the blocks that still differ. */
const MAX_NAMED = 8;
/** How much is flushed at a time, in bytes. */
const FLUSH_SIZE = 4 * 2 ** 20;

export interface RunOptions extends Omit<CopierOptions, 'blocks' | 'beforeWrite' | 'written'> {
  mode: Mode;
  progress: Progress;
  digestMemory: DigestMemory;
  /** Whether a power failure could take bytes of the destination away. */
  unflushed: boolean;
  /**
   * Writes to the journal how far it has come, and that the destination is inconsistent.
   *
   * @returns once that is durable; false if it never will be, because the daemon is shutting down
   */
  save(): Promise<boolean>;
  /** Its destination has become inconsistent, or is proven to be consistent. */
  consistencyChanged(): void;
  /** It has come further. */
  progressed(): void;
}

/** What one pass over all blocks has found. */
interface Pass {
  /** Blocks that differed. */
  differing: number;
  /** The first of them, by number. */
  named: number[];
}

/**
 * Makes the destination equal to the source. The proof is a pass that compares all blocks and finds none
 * that differs: all that it compares is written and flushed by then.
 */
export class Run {
  readonly #options: RunOptions;
  readonly #copier: Copier;
  readonly #sides: Sides;
  /** Blocks that this run has written, and flushed. */
  readonly #flushed: BlockSet;
  readonly #known: KnownDigests | undefined;
  /** Settles once the journal has that the destination is inconsistent; undefined before the first write. */
  #beginning: Promise<void> | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    const { progress, link, source } = options;
    const { blocks } = progress;
    this.#flushed = new BlockSet(blocks.count);
    this.#known = options.digestMemory.take(blocks.count);
    this.#copier = new Copier({
      ...options,
      blocks,
      beforeWrite: () => this.#begin(),
      written: (first, count, digests) => this.#written(first, count, digests),
    });
    this.#sides = {
      blocks,
      source: ({ offset, size }, blockSize) =>
        link.digests(source.device, { offset: source.offset + offset, size }, blockSize),
      destination: (range, blockSize) => this.#digests(range, blockSize),
      known: (first, count) => this.#known?.countIn(first, count) ?? 0,
    };
  }

  /**
   * @returns once the destination is equal to the source, and flushed
   * @throws what {@link Copier.copy} does; Problem source_changing
   */
  async run(fail: (error: unknown) => void): Promise<void> {
    try {
      await this.#run(fail);
    } finally {
      this.#known?.end();
    }
  }

  async #run(fail: (error: unknown) => void): Promise<void> {
    const { mode, progress, unflushed } = this.#options;
    // Digests tell which blocks an earlier daemon has written, whatever the journal says.
    const uncompared = mode === 'full' && !progress.begun;
    progress.equal = 0;
    progress.round = Math.max(1, progress.round);
    if (uncompared) await this.#pass('all', fail);
    else if ((await this.#pass('differing', fail)).differing === 0) return this.#finish(unflushed);
    while ((await this.#pass('changed', fail)).differing > 0);
    await this.#finish(unflushed);
  }

  /**
   * @param of `all`: copies all blocks without comparing them; `differing`: compares them for the first time;
   *   `changed`: finds those that have changed in the source since, which begins another round
   */
  async #pass(of: 'all' | 'differing' | 'changed', fail: (error: unknown) => void): Promise<Pass> {
    const pass: Pass = { differing: 0, named: [] };
    const { progress } = this.#options;
    const last = of === 'changed' && progress.round >= MAX_ROUNDS;
    const found = ahead(of === 'all' ? takeAll(this.#sides) : compare(this.#sides));
    const runs = this.#runsOf(found, pass, of, last);
    // Not `+= await`: that would lose what the runs add meanwhile.
    const changed = await this.#copier.copy(runs, fail);
    pass.differing += changed;
    if (last && pass.differing > 0) throw this.#sourceChanging(pass);
    return pass;
  }

  async *#runsOf(
    windows: AsyncGenerator<Compared>,
    pass: Pass,
    of: 'all' | 'differing' | 'changed',
    last: boolean,
  ): AsyncGenerator<BlockRun> {
    const { progress } = this.#options;
    for await (const { first, count, differing } of windows) {
      const different = differing.reduce((sum, run) => sum + run.count, 0);
      if (of === 'differing') {
        const copied = progress.copied.countIn(first, count);
        const copiedDifferent = differing.reduce(
          (sum, run) => sum + progress.copied.countIn(run.first, run.count),
          0,
        );
        progress.equal += count - different - (copied - copiedDifferent);
      }
      if (of === 'changed' && pass.differing === 0 && different > 0 && !last) progress.round++;
      pass.differing += different;
      for (const run of differing) {
        for (let i = 0; i < run.count && pass.named.length < MAX_NAMED; i++) {
          pass.named.push(run.first + i);
        }
      }
      this.#options.progressed();
      if (last) continue;
      await this.#forget(differing);
      yield* differing;
    }
  }

  /** Blocks that were copied before are about to be written again: until then they count as not copied. */
  async #forget(runs: readonly BlockRun[]): Promise<void> {
    const { copied } = this.#options.progress;
    const before = copied.count;
    for (const { first, count } of runs) {
      this.#known?.delete(first, count);
      for (let block = first; block < first + count; block++) copied.delete(block);
    }
    if (copied.count !== before) await this.#save();
  }

  /** Before the first byte is written. */
  #begin(): Promise<void> {
    const { progress } = this.#options;
    this.#beginning ??= (async () => {
      progress.consistency = 'inconsistent';
      const saved = this.#save();
      // After the row above, so that it replaces the rows of those who left these bytes inconsistent before.
      this.#options.consistencyChanged();
      await saved;
    })();
    return this.#beginning;
  }

  async #save(): Promise<void> {
    if (await this.#options.save()) return;
    this.#options.signal.throwIfAborted();
    throw new Problem('interrupted', 'The daemon is shutting down.');
  }

  #written(first: number, count: number, digests: Uint8Array | undefined): void {
    const { progress, progressed } = this.#options;
    progress.writes += count;
    if (digests !== undefined) this.#known?.add(first, digests);
    for (let block = first; block < first + count; block++) {
      progress.copied.add(block);
      this.#flushed.add(block);
    }
    progressed();
  }

  /** Digests of the destination's blocks. @param range whose offset counts from the replication's beginning */
  #digests(range: ByteRange, blockSize: number): Promise<Uint8Array> {
    const { blocks } = this.#options.progress;
    if (this.#known === undefined || blockSize !== blocks.blockSize) {
      return this.#read(range, blockSize);
    }
    const read = (first: number, count: number) =>
      this.#read(blocks.rangeOf(first, count), blockSize);
    const count = Math.ceil(range.size / blockSize);
    return this.#known.of(range.offset / blockSize, count, read);
  }

  async #read({ offset, size }: ByteRange, blockSize: number): Promise<Uint8Array> {
    const { destination, engine, hashers, signal } = this.#options;
    const found: Uint8Array[] = [];
    const options = { engine, hashers, pace: () => 0, signal };
    const range = { offset: destination.offset + offset, size };
    try {
      for await (const some of digests(destination.device, range, blockSize, options)) {
        found.push(some);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
    return Buffer.concat(found);
  }

  async #finish(unflushed: boolean): Promise<void> {
    if (unflushed) await this.#flushRest();
    this.#options.progress.finish();
    this.#options.consistencyChanged();
  }

  /**
   * Flushes the blocks that this run did not write: other work may have written them without a flush, even
   * if an earlier daemon flushed them before that. The engine flushes what it writes, so they are read and
   * written back unchanged; nothing else may write there now.
   */
  async #flushRest(): Promise<void> {
    const { engine, buffers, destination, progress, priority, signal } = this.#options;
    const { blocks } = progress;
    const { device } = destination;
    const longest = Math.max(1, FLUSH_SIZE / blocks.blockSize);
    for (const [first, count] of this.#flushed.missing(longest)) {
      signal.throwIfAborted();
      const { offset, size } = blocks.rangeOf(first, count);
      const at = destination.offset + offset;
      const loan = await buffers.borrow(Math.max(FLUSH_SIZE, blocks.blockSize), signal);
      try {
        const memory = loan.memory.subarray(0, size);
        const job = { engine: 'cpu', priority: priority(), memory } as const;
        const read = await engine.run({
          ...{ ...job, source: device.handle, destination: MEMORY },
          segments: SegmentList.of({ src_offset: at, dst_offset: 0, size }),
        });
        if (read.status !== 0) throw jobProblem(read, device.name);
        const written = await engine.run({
          ...{ ...job, source: MEMORY, destination: device.handle, flush: true },
          segments: SegmentList.of({ src_offset: 0, dst_offset: at, size }),
        });
        if (written.status !== 0) throw jobProblem(written, device.name);
      } finally {
        loan.end();
      }
    }
  }

  #sourceChanging({ differing, named }: Pass): Problem {
    const { source, progress } = this.#options;
    const { blockSize } = progress.blocks;
    const offsets = named.map((block) => source.offset + block * blockSize).join(', ');
    const more = differing > named.length ? ' and further ones' : '';
    const detail = `After ${MAX_ROUNDS} rounds ${differing} blocks of ${blockSize} bytes differ again, at offsets ${offsets}${more} of ${source.device}: the source is being written. Stop the writes there, then replicate again.`;
    return new Problem('source_changing', detail);
  }
}

/** Whether equal bytes must still be flushed. Not on a device that is never persistent: a flush does nothing there. */
export function needsFlush({ flushBasis }: Device, persistent: boolean): boolean {
  return flushBasis !== 'none' && !persistent;
}
