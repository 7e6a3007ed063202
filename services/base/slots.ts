// SPDX-License-Identifier: Apache-2.0

/**
 * Values that come and go with each request, in an array. In a Set or Map each change of its hash table leaves
 * the old table with a reference to the new one. Once one of these tables is in V8's old space, all later
 * ones are taken for alive, with all that was in them, until old space is collected: so the heap
 * grows by megabytes of what has long ended. A place in an array is overwritten.
 */
export class Slots<Value> implements Iterable<Value> {
  readonly #values: (Value | undefined)[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#values.length - this.#free.length;
  }

  /** @returns the value's number, until it is removed */
  add(value: Value): number {
    const number = this.#free.pop() ?? this.#values.length;
    this.#values[number] = value;
    return number;
  }

  get(number: number): Value | undefined {
    return this.#values[number];
  }

  /** Puts another value in the place of one. */
  replace(number: number, value: Value): void {
    this.#values[number] = value;
  }

  /** @param number of a value that is there */
  remove(number: number): void {
    this.#values[number] = undefined;
    this.#free.push(number);
  }

  *[Symbol.iterator](): Generator<Value> {
    for (const value of this.#values) if (value !== undefined) yield value;
  }
}

/** A map of such values by name; it goes through them in the order in which they came. */
export class SlotMap<Key extends string | number, Value> {
  readonly #numbers = new Map<Key, number>();
  readonly #values = new Slots<Value>();

  get size(): number {
    return this.#numbers.size;
  }

  has(key: Key): boolean {
    return this.#numbers.has(key);
  }

  get(key: Key): Value | undefined {
    const number = this.#numbers.get(key);
    return number === undefined ? undefined : this.#values.get(number);
  }

  set(key: Key, value: Value): void {
    const number = this.#numbers.get(key);
    if (number === undefined) this.#numbers.set(key, this.#values.add(value));
    else this.#values.replace(number, value);
  }

  /** @returns whether it was there */
  delete(key: Key): boolean {
    const number = this.#numbers.get(key);
    if (number === undefined) return false;
    this.#values.remove(number);
    return this.#numbers.delete(key);
  }

  clear(): void {
    for (const number of this.#numbers.values()) this.#values.remove(number);
    this.#numbers.clear();
  }

  *entries(): Generator<[Key, Value]> {
    for (const [key, number] of this.#numbers) yield [key, this.#values.get(number) as Value];
  }

  *values(): Generator<Value> {
    for (const number of this.#numbers.values()) yield this.#values.get(number) as Value;
  }
}
