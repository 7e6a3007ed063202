// SPDX-License-Identifier: Apache-2.0
import { types } from 'node:util';
import { Worker } from 'node:worker_threads';
import { Problem } from '../../http/problems/problem.ts';
import type { HashAnswer, HashTask, HashWorkerData } from './hash-worker.ts';

/** Bytes that come one part after the other, and are hashed as they come. */
export interface HashStream {
  /**
   * Hashes the next bytes, one call at a time. Shared memory must stay as it is meanwhile; other memory
   * is copied.
   *
   * @returns the SHA-256 of each block that ended in them, one behind the other
   * @throws Problem internal_error if the thread has ended, be that before: no other thread goes on
   */
  hash(bytes: Uint8Array, last: boolean): Promise<Uint8Array>;
  /** Gives up what was hashed; not needed after the last bytes. */
  drop(): void;
}

/** A thread that hashes: on the event loop that would hold up everybody else. */
export class HashThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve(digests: Uint8Array): void; reject(problem: Problem): void }
  >();
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
    this.#worker.on('message', ({ stream, digests }: HashAnswer) => {
      const waiting = this.#waiting.get(stream);
      this.#waiting.delete(stream);
      waiting?.resolve(digests);
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail());
  }

  /** Whether it can hash: one that has ended does not come back. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** @param blockSize after as many bytes a digest ends; without it there is one, of all */
  begin(blockSize = Number.POSITIVE_INFINITY): HashStream {
    const stream = ++this.#streams;
    return {
      hash: (bytes, last) => this.#hash({ kind: 'hash', stream, bytes, blockSize, last }),
      drop: () => this.#post({ kind: 'drop', stream }),
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
      this.#waiting.set(task.stream, { resolve, reject });
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
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}
