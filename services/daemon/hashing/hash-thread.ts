// SPDX-License-Identifier: Apache-2.0
import { types } from 'node:util';
import { Worker } from 'node:worker_threads';
import { Problem } from '../../http/problems/problem.ts';
import type { HashAnswer, HashTask, HashWorkerData } from './hash-worker.ts';

/** Bytes that arrive in parts, and are hashed as they arrive. */
export interface HashStream {
  /**
   * Hashes the next bytes; calls may follow each other, and end in their order. Shared memory must stay as it
   * is meanwhile; other memory is copied.
   *
   * @returns the SHA-256 of each block that ended in them, one behind the other
   * @throws Problem internal_error if the thread has ended, now or earlier: no other thread takes over
   */
  hash(bytes: Uint8Array, last: boolean): Promise<Uint8Array>;
  /** Forgets what was hashed; not needed after the last bytes. */
  discard(): void;
}

/** A thread that hashes, which would block the event loop. */
export class HashThread {
  readonly #worker: Worker;
  /** For what it has been given to hash, which it does in this order. */
  readonly #waiting: { resolve(digests: Uint8Array): void; reject(problem: Problem): void }[] = [];
  #streams = 0;
  #failure: Problem | undefined;

  /** @param niceness of nice(2) */
  constructor(niceness = 0) {
    this.#worker = new Worker(new URL('./hash-worker.js', import.meta.url), {
      workerData: { niceness } satisfies HashWorkerData,
      name: 'dmad-hash',
    });
    // The process may end while it waits for work.
    this.#worker.unref();
    this.#worker.on('message', (digests: HashAnswer) => this.#waiting.shift()?.resolve(digests));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail());
  }

  /** Whether it can hash: a thread that has ended is not started again. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** @param blockSize bytes of a block, each of which has a digest; without it there is one digest, of all bytes */
  begin(blockSize = Number.POSITIVE_INFINITY): HashStream {
    const stream = ++this.#streams;
    return {
      hash: (bytes, last) => this.#hash({ kind: 'hash', stream, bytes, blockSize, last }),
      discard: () => this.#post({ kind: 'discard', stream }),
    };
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #hash(task: HashTask & { kind: 'hash' }): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#waiting.push({ resolve, reject });
      if (types.isSharedArrayBuffer(task.bytes.buffer)) {
        this.#post(task);
      } else {
        const bytes = new Uint8Array(task.bytes);
        this.#post({ ...task, bytes }, [bytes.buffer]);
      }
    });
  }

  #post(task: HashTask, transferred: ArrayBuffer[] = []): void {
    this.#worker.postMessage(task, transferred);
  }

  #fail(cause?: Error): void {
    if (this.#failure === undefined) {
      const detail = 'The thread that computes SHA-256 has ended; send the request again.';
      this.#failure = new Problem('internal_error', detail);
      this.#failure.cause = cause;
    }
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
