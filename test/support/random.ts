// SPDX-License-Identifier: Apache-2.0
import { randomBytes, randomInt } from 'node:crypto';

/** Random numbers that can be repeated: the message of a failed test has the seed. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed = Number(process.env.TEST_SEED ?? randomInt(2 ** 31))) {
    this.seed = seed;
    this.#state = seed;
  }

  /** From 0 up to, and without, 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `minimum` to `maximum`. */
  integer(minimum: number, maximum: number): number {
    return minimum + Math.floor(this.next() * (maximum - minimum + 1));
  }

  /** The same; each order of magnitude is equally likely. */
  logInteger(minimum: number, maximum: number): number {
    return Math.min(maximum, Math.floor(minimum * ((maximum + 1) / minimum) ** this.next()));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)] as T;
  }

  /** Runs a test, and adds the seed to its failure. */
  async explain(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      (error as Error).message += ` (TEST_SEED=${this.seed})`;
      throw error;
    }
  }
}

/** Random bytes: no two ranges of them are equal. */
export function noise(size: number): Buffer {
  return randomBytes(size);
}
