// SPDX-License-Identifier: Apache-2.0
import { Problem } from '../problems/problem.ts';

/** Bytes that an upload or a download hands to the engine at a time; it holds two such buffers. */
export const CHUNK_SIZE = 256 * 2 ** 10;
const MAX_STREAMS = 256;

/** Bounds how many clients stream content at a time, and with that the memory that they take. */
export class StreamSlots {
  #taken = 0;

  /** Runs `work` in a slot. @throws Problem queue_full where all are taken */
  async use<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#taken >= MAX_STREAMS) {
      const detail = `${MAX_STREAMS} clients are reading or writing content already: retry later.`;
      throw new Problem('queue_full', detail, { headers: { 'retry-after': '1' } });
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
