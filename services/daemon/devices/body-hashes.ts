// SPDX-License-Identifier: Apache-2.0
import { Worker } from 'node:worker_threads';
import type { BodyHashAnswer, BodyHashTask } from './body-hash-worker.ts';

/** The SHA-256 of a body as it arrives. */
export interface BodyHash {
  /** Takes the next bytes, which are copied. Resolves once they are hashed: one call at a time. */
  update(bytes: Uint8Array): Promise<unknown>;
  digest(): Promise<Buffer>;
  /** Gives up what was hashed. */
  drop(): void;
}

/** Hashes bodies in one thread of its own: on the event loop each would hold up all others. */
export class BodyHashes {
  #worker: Worker | undefined;
  #last = 0;
  readonly #waiting = new Map<
    number,
    { resolve(answer: BodyHashAnswer): void; reject(error: Error): void }
  >();

  /** Begins another one. The thread is made for the first. */
  begin(): BodyHash {
    const body = ++this.#last;
    return {
      update: (bytes) => this.#ask({ kind: 'update', body, bytes: new Uint8Array(bytes) }),
      digest: async () => Buffer.from((await this.#ask({ kind: 'digest', body })).digest ?? []),
      drop: () => this.#worker?.postMessage({ kind: 'drop', body } satisfies BodyHashTask),
    };
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #ask(task: BodyHashTask): Promise<BodyHashAnswer> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      this.#waiting.set(task.body, { resolve, reject });
      worker.postMessage(task, task.kind === 'update' ? [task.bytes.buffer as ArrayBuffer] : []);
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL('./body-hash-worker.js', import.meta.url), {
      name: 'dmad-body-hash',
    });
    // The process may end while it waits for work.
    worker.unref();
    worker.on('message', (answer: BodyHashAnswer) => {
      const waiting = this.#waiting.get(answer.body);
      this.#waiting.delete(answer.body);
      waiting?.resolve(answer);
    });
    const fail = (error: Error) => {
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    worker.on('error', fail);
    worker.on('exit', () => fail(new Error('the thread that hashes bodies has ended')));
    return worker;
  }
}
