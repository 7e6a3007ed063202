// SPDX-License-Identifier: Apache-2.0
import { type HashStream, HashThread } from '../hashing/hash-thread.ts';

/** Hashes bodies as they arrive, all of them in one thread, which is made for the first. */
export class BodyHashes {
  #thread: HashThread | undefined;

  /** Begins another body: one digest, of all of it. */
  begin(): HashStream {
    if (!this.#thread?.usable) this.#thread = new HashThread();
    return this.#thread.begin();
  }

  async close(): Promise<void> {
    await this.#thread?.close();
  }
}
