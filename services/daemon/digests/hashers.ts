// SPDX-License-Identifier: Apache-2.0
import { HashThread } from '../hashing/hash-thread.ts';

/** Bytes that are read, and hashed, at a time: few enough to stay in a cache between the two. */
export const CHUNK_SIZE = 2 ** 20;
/** Of SHA-256, in bytes. */
export const DIGEST_SIZE = 32;
/** Of nice(2): this is never more urgent than copying, or than the event loop. */
export const NICENESS = 10;

/** A thread that hashes, and memory that it shares: one buffer is read into while the other is hashed. */
export interface Hasher {
  thread: HashThread;
  buffers: readonly [Buffer, Buffer];
}

/** A few {@link Hasher}s for all requests, each with one of them at a time; made when needed. */
export class Hashers {
  readonly #limit: number;
  readonly #idle: Hasher[] = [];
  readonly #all = new Set<Hasher>();
  readonly #waiting: ((hasher: Hasher) => void)[] = [];

  /** @param limit how many there are at most */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many spans may be hashed side by side. */
  get limit(): number {
    return this.#limit;
  }

  /** Runs `work` with a hasher, once there is one for it: first come, first served. */
  async use<Result>(work: (hasher: Hasher) => Promise<Result>): Promise<Result> {
    const hasher = await this.#take();
    try {
      return await work(hasher);
    } finally {
      this.#give(hasher);
    }
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#all, ({ thread }) => thread.close()));
  }

  #take(): Promise<Hasher> | Hasher {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#all.size < this.#limit) return this.#make();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #give(hasher: Hasher): void {
    let next: Hasher | undefined = hasher;
    if (!hasher.thread.usable) {
      this.#all.delete(hasher);
      next = this.#waiting.length > 0 ? this.#make() : undefined;
    }
    if (next === undefined) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#idle.push(next);
    else waiting(next);
  }

  #make(): Hasher {
    const buffer = () => Buffer.from(new SharedArrayBuffer(CHUNK_SIZE));
    const hasher: Hasher = { thread: new HashThread(NICENESS), buffers: [buffer(), buffer()] };
    this.#all.add(hasher);
    return hasher;
  }
}
