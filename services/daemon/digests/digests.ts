// SPDX-License-Identifier: Apache-2.0

import type { ByteRange } from '../../base/byte-range.ts';
import { SegmentList } from '../../base/segments.ts';
import { Problem } from '../../http/problems/problem.ts';
import { checkOnline, type Device } from '../devices/device.ts';
import { type Pace, throttle } from '../devices/throttle.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { MEMORY } from '../engines/records.ts';
import type { HashStream } from '../hashing/hash-thread.ts';
import type { Hashers } from './hashers.ts';

/**
 * What one thread hashes before another request has its turn: whole blocks, as many as fit, but
 * at least one. In bytes.
 */
const SPAN_SIZE = 8 * 2 ** 20;

export interface DigestOptions {
  engine: Engine;
  hashers: Hashers;
  pace: Pace;
  /** Stops it: the client went away. */
  signal: AbortSignal;
}

/**
 * The SHA-256 digests of a range's blocks, in their order.
 *
 * @param blockSize bytes, counted from the range's beginning; the last block may be shorter
 * @returns digests, some at a time, one behind the other
 * @throws Problem device_gone, media_error, or cancelled if it was stopped
 */
export async function* digests(
  device: Device,
  range: ByteRange,
  blockSize: number,
  options: DigestOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { hashers, pace, signal } = options;
  const spans = spansOf(range, blockSize);
  const underWay: Promise<Uint8Array>[] = [];
  let paid: Promise<unknown> = Promise.resolve();
  try {
    for (;;) {
      while (underWay.length < hashers.limit) {
        const span = spans.next();
        if (span.done) break;
        // One after the other, so that a client that is limited has the first digests meanwhile.
        paid = paid.then(() => throttle(pace, span.value.size, signal));
        const hashed = paid.then(() =>
          hashers.use((hasher) =>
            hashSpan(device, span.value, hasher.thread.begin(blockSize), hasher.buffers, options),
          ),
        );
        // It is looked at in its turn, which may come after it has failed.
        hashed.catch(() => {});
        underWay.push(hashed);
      }
      const next = underWay.shift();
      if (next === undefined) return;
      yield await next;
    }
  } finally {
    // Nobody may use a hasher's buffers while the engine still writes to them.
    await Promise.allSettled(underWay);
  }
}

function* spansOf({ offset, size }: ByteRange, blockSize: number): Generator<ByteRange> {
  const spanSize = Math.max(blockSize, SPAN_SIZE);
  for (let done = 0; done < size; done += spanSize) {
    yield { offset: offset + done, size: Math.min(spanSize, size - done) };
  }
}

/**
 * Reads a span by chunks as large as the buffers. While one is hashed the next one waits behind it already, so
 * that the thread never waits for this one.
 *
 * @param buffers of shared memory, one size
 * @returns the digests of the stream's blocks
 * @throws Problem device_gone, media_error, or cancelled if it was stopped
 */
export async function hashSpan(
  device: Device,
  { offset, size }: ByteRange,
  stream: HashStream,
  buffers: readonly [Buffer, Buffer],
  { engine, signal }: Pick<DigestOptions, 'engine' | 'signal'>,
): Promise<Uint8Array> {
  const found: Uint8Array[] = [];
  /** Of each buffer, until what is in it has been hashed. */
  const hashing: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
  try {
    for (let done = 0, turn: 0 | 1 = 0; done < size; turn = turn === 0 ? 1 : 0) {
      await hashing[turn];
      if (signal.aborted) throw new Problem('cancelled', 'The client went away.');
      const chunk = buffers[turn].subarray(0, size - done);
      await read(engine, device, offset + done, chunk);
      done += chunk.length;
      hashing[turn] = stream.hash(chunk, done === size).then((digests) => {
        found.push(digests);
      });
      // It is waited for before its buffer is used again, which may come after it has failed.
      hashing[turn].catch(() => {});
    }
    await Promise.all(hashing);
  } catch (error) {
    stream.discard();
    // The thread may still read the buffers, which another span is to have next.
    await Promise.allSettled(hashing);
    throw error;
  }
  return Buffer.concat(found);
}

/** Fills memory with a device's bytes. */
async function read(engine: Engine, device: Device, offset: number, memory: Buffer): Promise<void> {
  checkOnline(device);
  const completion = await engine.run({
    ...{ source: device.handle, destination: MEMORY, memory },
    ...{ engine: 'cpu', priority: 'low' },
    segments: SegmentList.of({ src_offset: offset, dst_offset: 0, size: memory.length }),
  });
  if (completion.status !== 0) throw jobProblem(completion, device.name);
}
