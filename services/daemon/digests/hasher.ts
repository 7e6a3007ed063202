// SPDX-License-Identifier: Apache-2.0
import { Worker } from 'node:worker_threads';
import type { HashMemory, HashTask } from './hash-worker.ts';

/** Bytes that are read, and hashed, at a time: few enough to stay in a cache between the two. */
export const CHUNK_SIZE = 2 ** 20;
/** Of SHA-256, in bytes. */
export const DIGEST_SIZE = 32;

/** A thread that hashes, and the two buffers from which it does. */
export class Hasher {
  readonly buffers: readonly [Buffer, Buffer];
  readonly #worker: Worker;
  #waiting: { resolve(digests: Uint8Array): void; reject(error: Error): void } | undefined;
  #failure: Error | undefined;

  constructor() {
    const memory: HashMemory = {
      buffers: [new SharedArrayBuffer(CHUNK_SIZE), new SharedArrayBuffer(CHUNK_SIZE)],
    };
    this.buffers = [Buffer.from(memory.buffers[0]), Buffer.from(memory.buffers[1])];
    this.#worker = new Worker(new URL('./hash-worker.js', import.meta.url), {
      workerData: memory,
      name: 'dmad-hash',
    });
    // The process may end while it waits for work.
    this.#worker.unref();
    this.#worker.on('message', (digests: Uint8Array) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(digests);
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the thread that hashes has ended')));
  }

  /** Whether it can hash. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /**
   * Hashes the next bytes of a span, one call at a time.
   *
   * @returns the digests of the blocks that ended in it, one behind the other
   * @throws Error if the thread has ended
   */
  hash(task: HashTask): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(task);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }
}
