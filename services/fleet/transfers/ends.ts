// SPDX-License-Identifier: Apache-2.0
import type { EndedRecord } from './record.ts';

/** Who waits for which transfers' ends. */
export class Ends {
  readonly #waiting = new Map<string, Set<(record: EndedRecord | undefined) => void>>();

  /** The transfers whose ends are waited for. */
  get ids(): Iterable<string> {
    return this.#waiting.keys();
  }

  /** @param record undefined if how it ended is not known any more */
  ended(id: string, record: EndedRecord | undefined): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    for (const resolve of waiting ?? []) resolve(record);
  }

  /**
   * @param done is called at most once
   * @returns ends the wait
   */
  await(id: string, done: (record: EndedRecord | undefined) => void): () => void {
    let waiting = this.#waiting.get(id);
    if (waiting === undefined) {
      waiting = new Set();
      this.#waiting.set(id, waiting);
    }
    waiting.add(done);
    return () => {
      waiting.delete(done);
      if (waiting.size === 0 && this.#waiting.get(id) === waiting) this.#waiting.delete(id);
    };
  }
}
