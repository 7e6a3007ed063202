// SPDX-License-Identifier: Apache-2.0
import { retryLater } from './problems/problem.ts';

/** Bytes that an upload or a download hands to the engine at a time; it holds two such buffers. */
export const CHUNK_SIZE = 256 * 2 ** 10;
const MAX_STREAMS = 256;

/** Bounds how much content is read at a time, and with that the memory that it takes. */
export class StreamSlots {
  readonly #what: string;
  #taken = 0;
  readonly #takenBy = new Map<string, number>();

  /** @param what fills them, such as "downloads" */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * Runs `work` in a slot. A client that has none gets one though all are taken.
   *
   * @throws Problem queue_full
   */
  async use<Result>(client: string, work: () => Promise<Result>): Promise<Result> {
    const own = this.#takenBy.get(client) ?? 0;
    if (this.#taken >= MAX_STREAMS && own > 0) {
      const detail = `${MAX_STREAMS} ${this.#what} are already in progress; retry later.`;
      throw retryLater('queue_full', detail);
    }
    this.#taken++;
    this.#takenBy.set(client, own + 1);
    try {
      return await work();
    } finally {
      this.#taken--;
      const left = (this.#takenBy.get(client) ?? 0) - 1;
      if (left > 0) this.#takenBy.set(client, left);
      else this.#takenBy.delete(client);
    }
  }
}

/** The two buffers of a stream: one is filled while the other is emptied. */
export function chunkBuffers(): [Buffer, Buffer] {
  return [Buffer.allocUnsafeSlow(CHUNK_SIZE), Buffer.allocUnsafeSlow(CHUNK_SIZE)];
}
