// SPDX-License-Identifier: Apache-2.0

/**
 * A queue that anything can leave from anywhere, each step in constant time. A Set alone is none:
 * to find its first element V8 passes over all that were taken out in front of it.
 */
export class Fifo<Item> implements Iterable<Item> {
  readonly #items = new Set<Item>();
  /** Stands behind the first one; undefined if there is none. */
  #behindFirst: Iterator<Item> | undefined;
  #first: Item | undefined;

  get size(): number {
    return this.#items.size;
  }

  /** The item that came first; undefined if there is none. */
  get first(): Item | undefined {
    return this.#first;
  }

  /** Puts an item at the end; one that is there stays where it is. */
  add(item: Item): void {
    this.#items.add(item);
    if (this.#behindFirst !== undefined) return;
    this.#behindFirst = this.#items.values();
    this.#advance();
  }

  /** @returns whether it was there */
  delete(item: Item): boolean {
    const wasFirst = this.#behindFirst !== undefined && item === this.#first;
    if (!this.#items.delete(item)) return false;
    if (wasFirst) this.#advance();
    return true;
  }

  [Symbol.iterator](): Iterator<Item> {
    return this.#items.values();
  }

  #advance(): void {
    const { value, done } = (this.#behindFirst as Iterator<Item>).next();
    this.#first = done ? undefined : value;
    if (done) this.#behindFirst = undefined;
  }
}
