// SPDX-License-Identifier: Apache-2.0
import { Slots } from './slots.ts';

/** Values that many records have, by numbers that fit into their bytes. */
export class SharedValues<Value> {
  readonly #numbers = new Map<Value, number>();
  readonly #shared = new Slots<{ value: Value; records: number }>();

  /** One record more has it. @returns its number, good until as many {@link release} it */
  acquire(value: Value): number {
    const known = this.#numbers.get(value);
    if (known !== undefined) {
      this.#at(known).records++;
      return known;
    }
    const number = this.#shared.add({ value, records: 1 });
    this.#numbers.set(value, number);
    return number;
  }

  get(number: number): Value {
    return this.#at(number).value;
  }

  /** How many there are. */
  get size(): number {
    return this.#numbers.size;
  }

  release(number: number): void {
    const shared = this.#at(number);
    shared.records--;
    if (shared.records > 0) return;
    this.#numbers.delete(shared.value);
    this.#shared.remove(number);
  }

  #at(number: number) {
    return this.#shared.get(number) as { value: Value; records: number };
  }
}
