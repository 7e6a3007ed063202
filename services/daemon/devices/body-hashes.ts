// SPDX-License-Identifier: Apache-2.0
import { type HashStream, HashThread } from '../hashing/hash-thread.ts';

/** Hashes bodies side by side, all of them in one thread, which is made for the first. */
export class BodyHashes {
  readonly #niceness: number;
  #thread: HashThread | undefined;

  /** @param niceness of nice(2) */
  constructor(niceness = 0) {
    this.#niceness = niceness;
  }

  /** Begins another body: one digest, of all of it. */
  begin(): HashStream {
    if (!this.#thread?.usable) this.#thread = new HashThread(this.#niceness);
    return this.#thread.begin();
  }

  async close(): Promise<void> {
    await this.#thread?.close();
  }
}
