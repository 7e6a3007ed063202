// SPDX-License-Identifier: Apache-2.0
import { createHash, type Hash } from 'node:crypto';
import { setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';

/** The next bytes of a stream, which the first task of it begins; or its end before its last bytes. */
export type HashTask =
  | { kind: 'hash'; stream: number; bytes: Uint8Array; blockSize: number; last: boolean }
  | { kind: 'drop'; stream: number };

/** The digests of the blocks that ended in a task, one behind the other. */
export interface HashAnswer {
  stream: number;
  digests: Uint8Array;
}

export interface HashWorkerData {
  /** Of nice(2). */
  niceness: number;
}

/** The SHA-256 of each block of some bytes that come one part after the other. */
class Blocks {
  readonly #blockSize: number;
  /** Of the open block. Bytes of none at all are a block too. */
  #hash: Hash | undefined = createHash('sha256');
  #filled = 0;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
  }

  /** @returns the digests of the blocks that end in these bytes */
  take(bytes: Uint8Array, last: boolean): Buffer {
    const digests: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      this.#hash ??= createHash('sha256');
      const part = Math.min(this.#blockSize - this.#filled, bytes.length - at);
      this.#hash.update(bytes.subarray(at, at + part));
      at += part;
      this.#filled += part;
      if (this.#filled === this.#blockSize) {
        digests.push(this.#hash.digest());
        this.#hash = undefined;
        this.#filled = 0;
      }
    }
    if (last && this.#hash !== undefined) digests.push(this.#hash.digest());
    return Buffer.concat(digests);
  }
}

function serve(port: MessagePort): void {
  const streams = new Map<number, Blocks>();
  port.on('message', (task: HashTask) => {
    const { kind, stream } = task;
    if (kind === 'drop') {
      streams.delete(stream);
      return;
    }
    const blocks = streams.get(stream) ?? new Blocks(task.blockSize);
    if (task.last) streams.delete(stream);
    else streams.set(stream, blocks);
    const digests = blocks.take(task.bytes, task.last);
    port.postMessage({ stream, digests } satisfies HashAnswer);
  });
}

if (parentPort !== null) {
  try {
    // On Linux this is the thread's own.
    setPriority((workerData as HashWorkerData).niceness);
  } catch {
    // Then it is as urgent as the others.
  }
  serve(parentPort);
}
