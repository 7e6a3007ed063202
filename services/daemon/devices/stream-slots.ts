// SPDX-License-Identifier: Apache-2.0
import { retryLater } from '../problems/problem.ts';

/** Bytes that an upload or a download hands to the engine at a time; it holds two such buffers. */
export const CHUNK_SIZE = 256 * 2 ** 10;
const MAX_STREAMS = 256;

/** Bounds how many clients read content at a time, and with that the memory that they take. */
export class StreamSlots {
  #taken = 0;

  /** Runs `work` in a slot. @throws Problem queue_full where all are taken */
  async use<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#taken >= MAX_STREAMS) {
      throw retryLater('queue_full', `${MAX_STREAMS} clients are at this already: retry later.`);
    }
    this.#taken++;
    try {
      return await work();
    } finally {
      this.#taken--;
    }
  }
}

/** The two buffers of a stream: one is filled while the other is emptied. */
export function chunkBuffers(): [Buffer, Buffer] {
  return [Buffer.allocUnsafeSlow(CHUNK_SIZE), Buffer.allocUnsafeSlow(CHUNK_SIZE)];
}
