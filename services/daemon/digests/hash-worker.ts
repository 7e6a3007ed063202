// SPDX-License-Identifier: Apache-2.0
import { createHash, type Hash } from 'node:crypto';
import { setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';

/** Memory that both threads see; bytes are put into either buffer while the other is hashed. */
export interface HashMemory {
  buffers: readonly [SharedArrayBuffer, SharedArrayBuffer];
}

/** The next bytes of a span: they lie at the beginning of a buffer. */
export interface HashTask {
  buffer: 0 | 1;
  size: number;
  blockSize: number;
  /** Whether the span begins, or ends, with them. */
  first: boolean;
  last: boolean;
}

/** Of nice(2): hashing is never more urgent than copying, or than the event loop. */
const NICENESS = 10;

/** The thread's part of a Hasher: answers each task with the digests of the blocks that ended in it. */
function serve(port: MessagePort, { buffers }: HashMemory): void {
  const bytes = buffers.map((buffer) => new Uint8Array(buffer));
  let hash: Hash | undefined;
  let filled = 0;
  port.on('message', ({ buffer, size, blockSize, first, last }: HashTask) => {
    const digests: Buffer[] = [];
    if (first) hash = undefined;
    for (let at = 0; at < size; ) {
      if (hash === undefined) {
        hash = createHash('sha256');
        filled = 0;
      }
      const part = Math.min(blockSize - filled, size - at);
      hash.update((bytes[buffer] as Uint8Array).subarray(at, at + part));
      at += part;
      filled += part;
      if (filled === blockSize || (last && at === size)) {
        digests.push(hash.digest());
        hash = undefined;
      }
    }
    port.postMessage(Buffer.concat(digests));
  });
}

if (parentPort !== null) {
  try {
    // On Linux this is the thread's own.
    setPriority(NICENESS);
  } catch {
    // Then it is as urgent as the others.
  }
  serve(parentPort, workerData as HashMemory);
}
