// SPDX-License-Identifier: Apache-2.0

import { SegmentList } from '../../base/segments.ts';
import type { Priority } from '../../base/vocabulary.ts';
import { Problem } from '../../http/problems/problem.ts';
import { checkBadBlocks, checkOnline, type Device } from '../devices/device.ts';
import { fileProblem } from '../devices/emulated.ts';
import { type Pace, throttle } from '../devices/throttle.ts';
import type { Hashers } from '../digests/hashers.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { MEMORY } from '../engines/records.ts';
import { type Blocks, digestAt, type Run, runsWhere, sameDigest } from './blocks.ts';
import type { FetchShare } from './fetch-buffers.ts';
import type { PeerLink } from './peer-link.ts';
import type { RateLimit } from './rate-limit.ts';

/** How many bytes one request fetches: a lost connection costs no more, and a kill no more than this for each connection. */
const SPAN_SIZE = 4 * 2 ** 20;
/** At a limited rate, one request fetches at most this part of a second's bytes. */
const SPAN_PART = 8;
const MAX_CONNECTIONS = 8;
/** Of large blocks, each of which is held in memory. */
const MIN_CONNECTIONS = 4;
/** How often a block is fetched whose bytes do not match its digest, if the digest stays the same. */
const MAX_FETCHES = 3;

/** What a copier needs; `priority` and the rate may change meanwhile. */
export interface CopierOptions {
  blocks: Blocks;
  link: PeerLink;
  source: { device: string; offset: number };
  destination: { device: Device; offset: number };
  engine: Engine;
  hashers: Hashers;
  buffers: FetchShare;
  rate: RateLimit;
  pace: Pace;
  priority(): Priority;
  signal: AbortSignal;
  /** Called, and awaited, before blocks are written. */
  beforeWrite(): Promise<void>;
  /**
   * Blocks have been written and flushed.
   *
   * @param digests of what the device has there now
   */
  written(first: number, count: number, digests: Uint8Array | undefined): void;
}

/** Fetches blocks over several connections, proves each, and writes it. */
export class Copier {
  readonly #options: CopierOptions;
  /** Blocks that changed in the source between their digest and their content. */
  #changed = 0;

  constructor(options: CopierOptions) {
    this.#options = options;
  }

  /**
   * Copies what the source has of these runs of blocks.
   *
   * @param fail is called with the first error, and has to abort the signal, so that all stop
   * @returns how many blocks changed meanwhile, and were left as they were
   * @throws what {@link PeerLink} does; Problem digest_mismatch, media_error, device_gone and the like
   */
  async copy(runs: AsyncGenerator<Run>, fail: (error: unknown) => void): Promise<number> {
    this.#changed = 0;
    const spans = this.#spansOf(runs);
    const { blockSize } = this.#options.blocks;
    const count = blockSize > SPAN_SIZE ? MIN_CONNECTIONS : MAX_CONNECTIONS;
    const workers = Array.from({ length: count }, async () => {
      try {
        for (let next = await spans.next(); !next.done; next = await spans.next()) {
          await this.#copySpan(next.value);
        }
      } catch (error) {
        fail(error);
        throw error;
      }
    });
    // All have to end first: they still write to these buffers.
    const ended = await Promise.allSettled(workers);
    await spans.return(undefined);
    const failed = ended.find((end) => end.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return this.#changed;
  }

  async *#spansOf(runs: AsyncGenerator<Run>): AsyncGenerator<Run> {
    for await (const { first, count, digests } of runs) {
      for (let done = 0; done < count; ) {
        const length = Math.min(this.#spanBlocks(), count - done);
        yield { first: first + done, count: length, digests: digestAt(digests, done, length) };
        done += length;
      }
    }
  }

  #spanBlocks(): number {
    const { blocks, rate } = this.#options;
    const limit = (rate.bytesPerSecond ?? Number.POSITIVE_INFINITY) / SPAN_PART;
    return Math.max(1, Math.floor(Math.min(SPAN_SIZE, limit) / blocks.blockSize));
  }

  async #copySpan(span: Run): Promise<void> {
    const { blocks, pace, signal } = this.#options;
    await throttle(pace, blocks.rangeOf(span.first, span.count).size, signal);
    const wrong = await this.#fetch(span);
    if (wrong.length === 0) return;
    // Either the source has changed since, which its digests show, or the bytes were damaged on their way.
    const theirs = await this.#digestsNow(span);
    for (const block of wrong) {
      const index = block - span.first;
      if (!sameDigest(span.digests, theirs, index)) this.#changed++;
      else await this.#insist({ first: block, count: 1, digests: digestAt(theirs, index) });
    }
  }

  /** Fetches a block again whose bytes did not match its digest, and reports what is wrong. */
  async #insist(block: Run): Promise<void> {
    const { blocks, source } = this.#options;
    for (let fetches = 1; fetches < MAX_FETCHES; fetches++) {
      if ((await this.#fetch(block)).length === 0) return;
      if (!sameDigest(block.digests, await this.#digestsNow(block), 0)) {
        this.#changed++;
        return;
      }
    }
    const { offset, size } = blocks.rangeOf(block.first, 1);
    const detail = `${size} bytes at offset ${source.offset + offset} of ${source.device} did not match their SHA-256 in ${MAX_FETCHES} attempts, and were not written. Check the peer's memory and the network between.`;
    throw new Problem('digest_mismatch', detail, { status: 502 });
  }

  #digestsNow({ first, count }: Run): Promise<Uint8Array> {
    const { link, source, blocks } = this.#options;
    const { offset, size } = blocks.rangeOf(first, count);
    return link.digests(source.device, { offset: source.offset + offset, size }, blocks.blockSize);
  }

  /** @returns the numbers of the blocks that do not match their digests, which are not written */
  async #fetch({ first, count, digests }: Run): Promise<number[]> {
    const { link, source, hashers, blocks, buffers, rate, signal } = this.#options;
    const { offset, size } = blocks.rangeOf(first, count);
    await rate.pay(size, signal);
    const range = { offset: source.offset + offset, size };
    const borrow = () => buffers.borrow(Math.max(SPAN_SIZE, blocks.blockSize), signal);
    const loan = await link.content(source.device, range, borrow);
    try {
      const memory = loan.memory.subarray(0, size);
      const found = await hashers.use(({ thread }) =>
        thread.begin(blocks.blockSize).hash(memory, true),
      );
      signal.throwIfAborted();
      const isGood = (index: number) => sameDigest(digests, found, index);
      const good = [...runsWhere(count, isGood)];
      if (good.length > 0) await this.#write(first, good, memory, found);
      const wrong = Array.from({ length: count }, (_, index) => index).filter((i) => !isGood(i));
      return wrong.map((index) => first + index);
    } finally {
      loan.end();
    }
  }

  /**
   * @param good runs of blocks, counted from `first`, where `memory` begins
   * @param digests of all blocks of the memory
   */
  async #write(
    first: number,
    good: readonly [number, number][],
    memory: Buffer,
    digests: Uint8Array,
  ): Promise<void> {
    const { engine, blocks, destination, priority } = this.#options;
    const { device } = destination;
    const at = blocks.rangeOf(first, 1).offset;
    const segments = good.map(([index, length]) => {
      const { offset, size } = blocks.rangeOf(first + index, length);
      return { src_offset: offset - at, dst_offset: destination.offset + offset, size };
    });
    for (const { dst_offset: offset, size } of segments) {
      checkBadBlocks({ device, offset, size, offsetPointer: '/dst_offset', sizePointer: '' });
    }
    checkOnline(device);
    await this.#options.beforeWrite();
    const pieces = SegmentList.from(segments);
    const job = { source: MEMORY, destination: device.handle, memory, segments: pieces } as const;
    const how = { engine: 'cpu', priority: priority() } as const;
    const completion = await engine.run({ ...job, ...how, flush: true });
    if (completion.status !== 0) throw jobProblem(completion, device.name);
    const problem = fileProblem(device);
    if (problem !== undefined) throw problem;
    // A checksum shows as much as another digest of what was written, at a fraction of the cost.
    const compared = await engine.run({ ...job, ...how, operation: 'compare' });
    const same = compared.status === 0 && compared.difference === undefined;
    for (const [index, length] of good) {
      const known = same ? digestAt(digests, index, length) : undefined;
      this.#options.written(first + index, length, known);
    }
  }
}
