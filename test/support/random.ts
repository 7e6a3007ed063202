// SPDX-License-Identifier: Apache-2.0
import { randomBytes, randomInt } from 'node:crypto';

/** Numbers that a failed test can be run again with: its seed is in the message. */
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

  /** The same, each order of magnitude as likely as another. */
  logInteger(minimum: number, maximum: number): number {
    return Math.min(maximum, Math.floor(minimum * ((maximum + 1) / minimum) ** this.next()));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)] as T;
  }

  /** Runs a test, and says with its failure how to repeat it. */
  async explain(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      (error as Error).message += ` (TEST_SEED=${this.seed})`;
      throw error;
    }
  }
}

/** Bytes no two of which stretches are alike. */
export function noise(size: number): Buffer {
  return randomBytes(size);
}
