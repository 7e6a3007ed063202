// SPDX-License-Identifier: Apache-2.0
import { createHash, type Hash } from 'node:crypto';
import { constants, getPriority, setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { DIGEST_SIZE } from '../../base/digest.ts';
import { check, loadShim, type Shim } from '../../base/native/shim.ts';

/** The next bytes of a stream; or that no more will come, though the last bytes have not. The first task of a stream begins it. */
export type HashTask =
  | { kind: 'hash'; stream: number; bytes: Uint8Array; blockSize: number; last: boolean }
  | { kind: 'discard'; stream: number };

/** To each task of kind `hash`, in their order: the digests of the blocks that ended in it, one behind the other. */
export type HashAnswer = Uint8Array;

export interface HashWorkerData {
  /** Of nice(2): by how much it yields to the threads that have the process's own priority. */
  niceness: number;
}

/** Hashes bytes that arrive in parts, block by block. */
class BlockHasher {
  readonly #shim: Shim | undefined;
  readonly #blockSize: number;
  /** Of the block that has not ended. No bytes at all are one block, too. */
  #hash: Hash | undefined = createHash('sha256');
  #filled = 0;

  /** @param shim if it hashes here */
  constructor(blockSize: number, shim: Shim | undefined) {
    this.#blockSize = blockSize;
    this.#shim = shim;
  }

  /** @returns the digests of the blocks that end in these bytes */
  update(bytes: Uint8Array, last: boolean): Buffer {
    const digests: Buffer[] = [];
    for (let at = this.#hashWhole(bytes, last, digests); at < bytes.length; ) {
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

  /**
   * Has the shim hash the blocks that lie in these bytes as a whole: it does two at a time, in the time that
   * OpenSSL takes for one.
   *
   * @returns how many bytes that were
   */
  #hashWhole(bytes: Uint8Array, last: boolean, digests: Buffer[]): number {
    const count = last
      ? Math.ceil(bytes.length / this.#blockSize)
      : Math.floor(bytes.length / this.#blockSize);
    if (this.#shim === undefined || this.#filled > 0 || count < 2) return 0;
    const size = Math.min(bytes.length, count * this.#blockSize);
    const found = Buffer.allocUnsafeSlow(count * DIGEST_SIZE);
    check('dma_shim_sha256', this.#shim.sha256(bytes, size, this.#blockSize, found));
    digests.push(found);
    this.#hash = undefined;
    return size;
  }
}

/** The shim, if it has this processor's instructions for SHA-256. */
function hashingShim(): Shim | undefined {
  const shim = loadShim();
  const status = shim.sha256(Buffer.alloc(0), 0, 1, Buffer.alloc(DIGEST_SIZE));
  return status === 0 ? shim : undefined;
}

function serve(port: MessagePort): void {
  const shim = hashingShim();
  const streams = new Map<number, BlockHasher>();
  port.on('message', (task: HashTask) => {
    const { kind, stream } = task;
    if (kind === 'discard') {
      streams.delete(stream);
      return;
    }
    const blocks = streams.get(stream) ?? new BlockHasher(task.blockSize, shim);
    if (task.last) streams.delete(stream);
    else streams.set(stream, blocks);
    port.postMessage(blocks.update(task.bytes, task.last) satisfies HashAnswer);
  });
}

if (parentPort !== null) {
  try {
    // On Linux this sets the thread's priority only. It adds to the one that the process was started with.
    const { niceness } = workerData as HashWorkerData;
    setPriority(Math.min(getPriority() + niceness, constants.priority.PRIORITY_LOW));
  } catch {
    // Then it has the priority of the other threads.
  }
  serve(parentPort);
}
