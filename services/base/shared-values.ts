// SPDX-License-Identifier: Apache-2.0

/** Values that many records have, by numbers that fit into their bytes. */
export class SharedValues<Value> {
  readonly #numbers = new Map<Value, number>();
  readonly #values: (Value | undefined)[] = [];
  /** How many records have each. */
  readonly #counts: number[] = [];
  readonly #free: number[] = [];

  /** One record more has it. @returns its number, good until as many {@link release} it */
  acquire(value: Value): number {
    const known = this.#numbers.get(value);
    const number = known ?? this.#free.pop() ?? this.#values.length;
    if (known === undefined) {
      this.#numbers.set(value, number);
      this.#values[number] = value;
      this.#counts[number] = 0;
    }
    (this.#counts[number] as number)++;
    return number;
  }

  get(number: number): Value {
    return this.#values[number] as Value;
  }

  /** How many there are. */
  get size(): number {
    return this.#numbers.size;
  }

  release(number: number): void {
    const left = (this.#counts[number] as number) - 1;
    this.#counts[number] = left;
    if (left > 0) return;
    this.#numbers.delete(this.#values[number] as Value);
    this.#values[number] = undefined;
    this.#free.push(number);
  }
}
