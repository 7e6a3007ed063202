// SPDX-License-Identifier: Apache-2.0
import { Slots } from '../../base/slots.ts';

const NONE = -1;
/** Longer arrays are given back once the line is empty. */
const KEPT = 1024;

/**
 * A queue that anything can leave from anywhere, each step in constant time, by the place that it got. It is made of
 * arrays: see {@link Slots}.
 */
export class Line<Item> implements Iterable<Item> {
  #items = new Slots<Item>();
  /** Of each place the one behind it and the one in front of it. */
  #behind: number[] = [];
  #before: number[] = [];
  #first = NONE;
  #last = NONE;

  get size(): number {
    return this.#items.size;
  }

  /** The item that came first; undefined if there is none. */
  get first(): Item | undefined {
    return this.#first === NONE ? undefined : this.#items.get(this.#first);
  }

  /** Puts an item at the end. @returns its place, until it leaves */
  add(item: Item): number {
    const place = this.#items.add(item);
    this.#before[place] = this.#last;
    this.#behind[place] = NONE;
    if (this.#last === NONE) this.#first = place;
    else this.#behind[this.#last] = place;
    this.#last = place;
    return place;
  }

  /** @param place of an item that is in the line */
  leave(place: number): void {
    const before = this.#before[place] as number;
    const behind = this.#behind[place] as number;
    if (before === NONE) this.#first = behind;
    else this.#behind[before] = behind;
    if (behind === NONE) this.#last = before;
    else this.#before[behind] = before;
    this.#items.remove(place);
    if (this.size > 0 || this.#behind.length <= KEPT) return;
    this.#items = new Slots();
    this.#behind = [];
    this.#before = [];
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let place = this.#first; place !== NONE; place = this.#behind[place] as number) {
      yield this.#items.get(place) as Item;
    }
  }
}
