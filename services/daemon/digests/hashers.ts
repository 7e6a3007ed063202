// SPDX-License-Identifier: Apache-2.0
import { HashThread } from '../hashing/hash-thread.ts';

/**
 * Bytes that are read, and hashed, at a time: few enough to stay in a cache between the two, and two blocks of
 * the usual size, which are hashed side by side.
 */
export const CHUNK_SIZE = 2 * 2 ** 20;
/** Of nice(2): this is never more urgent than copying, or than the event loop. */
export const NICENESS = 10;

/** So many hashers share a thread: what one of them reads is there when the other one's has been hashed. */
const HASHERS_PER_THREAD = 2;

/** A thread that hashes, and memory that it shares: one buffer is read into while the other is hashed. */
export interface Hasher {
  thread: HashThread;
  buffers: readonly [Buffer, Buffer];
}

/** A few {@link Hasher}s for all requests, each with one of them at a time; made when needed. */
export class Hashers {
  readonly #threads: number;
  readonly #idle: Hasher[] = [];
  readonly #all = new Set<Hasher>();
  readonly #waiting: ((hasher: Hasher) => void)[] = [];

  /** @param threads how many hash at most */
  constructor(threads: number) {
    this.#threads = threads;
  }

  /** How many spans may be under way. */
  get limit(): number {
    return this.#threads * HASHERS_PER_THREAD;
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
    // The first to become idle: most likely its thread is.
    for (let idle = this.#idle.shift(); idle !== undefined; idle = this.#idle.shift()) {
      if (idle.thread.usable) return idle;
      this.#all.delete(idle);
    }
    if (this.#all.size < this.limit) return this.#make();
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
    const hasher: Hasher = { thread: this.#leastBusyThread(), buffers: [buffer(), buffer()] };
    this.#all.add(hasher);
    return hasher;
  }

  /** A new one, as long as there may be more. */
  #leastBusyThread(): HashThread {
    const hashers = new Map<HashThread, number>();
    for (const { thread } of this.#all) {
      if (thread.usable) hashers.set(thread, (hashers.get(thread) ?? 0) + 1);
    }
    if (hashers.size < this.#threads) return new HashThread(NICENESS);
    const fewest = Math.min(...hashers.values());
    return [...hashers.keys()].find((thread) => hashers.get(thread) === fewest) as HashThread;
  }
}
