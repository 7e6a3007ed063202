// SPDX-License-Identifier: Apache-2.0
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { COMPLETION_SIZE, type Completion, decodeCompletion, NO_DMA } from './records.ts';

/** Room for the completions of a busy tick in one read. */
const READ_SIZE = COMPLETION_SIZE * 1024;

/** The shim's completions, which come as a stream of records, in batches. */
export class CompletionStream {
  readonly #socket: Socket;
  readonly #deliver: (completion: Completion) => void;
  /** The first part of a record whose rest has not arrived yet. */
  #partial = Buffer.alloc(0);

  /** @param fd the shim's completion socket, which is this one's from now on */
  constructor(fd: number, deliver: (completion: Completion) => void) {
    this.#deliver = deliver;
    const options: SocketConstructorOpts & { onread: OnReadOpts } = {
      fd,
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.alloc(READ_SIZE),
        callback: (size, bytes) => {
          this.#receive(Buffer.from(bytes.buffer, bytes.byteOffset, size));
          return true;
        },
      },
    };
    this.#socket = new Socket(options);
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    const whole = this.#partial.length > 0 ? Buffer.concat([this.#partial, bytes]) : bytes;
    let offset = 0;
    for (; offset + COMPLETION_SIZE <= whole.length; offset += COMPLETION_SIZE) {
      this.#deliver(decodeCompletion(whole, offset));
    }
    this.#partial = Buffer.from(whole.subarray(offset));
  }
}

/**
 * How a job ends that could not start.
 *
 * @param status a negative errno
 */
export function failedCompletion(tag: number, status: number): Completion {
  const now = Number(process.hrtime.bigint());
  return {
    tag,
    done: true,
    status,
    bytesDone: 0,
    startedNs: now,
    finishedNs: now,
    copyNs: 0,
    flushNs: 0,
    verifyNs: 0,
    segment: 0,
    sourceCrc: 0,
    destinationCrc: 0,
    difference: undefined,
    received: 0,
    dma: NO_DMA,
  };
}
