// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { SegmentList } from '../../base/segments.ts';
import { descriptorOf } from '../../http/node-internals.ts';
import { beginPassage, endPassage, isDrained } from '../../http/past-node.ts';
import { CHUNK_SIZE } from '../../http/stream-slots.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { type Completion, MEMORY, SOCKET } from '../engines/records.ts';
import { type Device, goneProblem } from './device.ts';
import { FIRST_SLICE, nextSlice, wasRefused } from './slices.ts';
import { type Pace, throttle } from './throttle.ts';

const { ECONNRESET, ENOTCONN } = constants.errno;

/** A client that went away, or that took nothing for too long. */
export class ClientGone extends Error {
  constructor() {
    super('the client went away, or read nothing for too long');
  }
}

export interface BodyOptions {
  engine: Engine;
  device: Device;
  /** The byte behind the last one. */
  end: number;
  pace: Pace;
  /** Ends throttling: the client went away. */
  gone: AbortSignal;
  /** To which bytes may be sent past Node; undefined if they may not. */
  socket: Socket | undefined;
}

/** The bytes of a device, on their way into an answer whose header is sent. */
export class DownloadBody {
  readonly #options: BodyOptions;
  /** None once its bytes go past Node. */
  #buffers: Buffer[] = [];
  #at: number;
  #moved: (bytes: number) => void = () => {};

  /** @param offset of the first byte */
  constructor(offset: number, options: BodyOptions) {
    this.#at = offset;
    this.#options = options;
  }

  /** Reads the first bytes, which are to be sent. @throws Problem */
  first(): Promise<Buffer> {
    return this.#read(0, this.#at);
  }

  /**
   * Sends all of it.
   *
   * @param first what {@link first} has read
   * @param moved is called with the number of bytes each time the kernel has accepted some
   * @throws Error if it cannot be sent whole
   */
  async send(raw: ServerResponse, first: Buffer, moved: (bytes: number) => void): Promise<void> {
    this.#moved = moved;
    const { socket, pace, gone } = this.#options;
    if (socket === undefined) {
      await this.#sendThroughNode(raw, first);
      return;
    }
    const throttled = throttle(pace, first.length, gone);
    await this.#write(raw, first);
    await throttled;
    if (this.#at === this.#options.end) return;
    // Behind other answers that its client has not read yet, it goes their way.
    if (isDrained(socket)) {
      this.#buffers = [];
      await this.#sendPastNode(socket);
    }
    if (this.#at < this.#options.end) {
      await this.#sendThroughNode(raw, await this.#read(0, this.#at));
    }
  }

  /** Through two buffers: one is filled while the other is emptied. */
  async #sendThroughNode(raw: ServerResponse, first: Buffer): Promise<void> {
    const { end, pace, gone } = this.#options;
    let chunk: Buffer | undefined = first;
    for (let turn = 1; chunk !== undefined; turn ^= 1) {
      const next: number = this.#at + chunk.length;
      const throttled = throttle(pace, chunk.length, gone);
      const read: Promise<Buffer> | undefined = next < end ? this.#read(turn, next) : undefined;
      const sent = this.#write(raw, chunk);
      // Both are waited for whatever becomes of one: the engine may still write to the buffer.
      const [written, following] = await Promise.allSettled([sent, read]);
      if (written.status === 'rejected') throw written.reason;
      if (following.status === 'rejected') throw following.reason;
      await throttled;
      chunk = following.value;
    }
  }

  /**
   * By the shim, straight to the connection. It ends early if there is no descriptor to be had for it.
   */
  async #sendPastNode(socket: Socket): Promise<void> {
    const { engine, device, end, pace, gone } = this.#options;
    let sending = false;
    const descriptor = () => descriptorOf(socket);
    const passage = beginPassage(
      socket,
      () => sending && !engine.socketReady(descriptor(), 'sends'),
    );
    try {
      for (let slice = FIRST_SLICE; this.#at < end; ) {
        const size = Math.min(slice, end - this.#at);
        const throttled = throttle(pace, size, gone);
        const job = {
          source: device.handle,
          destination: SOCKET,
          engine: 'cpu',
          priority: 'normal',
          segments: SegmentList.of({ src_offset: this.#at, dst_offset: 0, size }),
          descriptor,
        } as const;
        let done = 0;
        sending = true;
        const completion = await engine.runUntil(job, gone, (bytesDone) => {
          this.#moved(bytesDone - done);
          passage.taken += bytesDone - done;
          done = bytesDone;
        });
        sending = false;
        if (wasRefused(completion)) return;
        if (completion.status !== 0) throw sendError(completion, device, gone);
        this.#at += size;
        slice = nextSlice(slice, await throttled);
      }
    } finally {
      endPassage(socket);
    }
  }

  async #write(raw: ServerResponse, chunk: Buffer): Promise<void> {
    await writeChunk(raw, chunk);
    this.#at += chunk.length;
    this.#moved(chunk.length);
  }

  /** @param turn which buffer it reads into, 0 or 1 */
  async #read(turn: number, offset: number): Promise<Buffer> {
    const { engine, device, end } = this.#options;
    const size = Math.min(CHUNK_SIZE, end - offset);
    this.#buffers[turn] ??= Buffer.allocUnsafeSlow(CHUNK_SIZE);
    const memory = this.#buffers[turn].subarray(0, size);
    const completion = await engine.run({
      source: device.handle,
      destination: MEMORY,
      engine: 'cpu',
      priority: 'normal',
      segments: SegmentList.of({ src_offset: offset, dst_offset: 0, size }),
      memory,
    });
    if (completion.status !== 0) throw jobProblem(completion, device.name);
    return memory;
  }
}

/** Why the shim did not send all of it. */
function sendError(completion: Completion, device: Device, gone: AbortSignal): Error {
  const { status } = completion;
  if (gone.aborted || status === -ECONNRESET || status === -ENOTCONN) return new ClientGone();
  return goneProblem(device) ?? jobProblem(completion, device.name);
}

/** Resolves once the kernel has the bytes, so that the buffer can be used again. */
export function writeChunk(raw: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // The callback alone is not enough: it never comes if an answer waits behind another one
    // on a connection that closes.
    const onClose = () => reject(new ClientGone());
    raw.once('close', onClose);
    raw.write(chunk, (error) => {
      raw.removeListener('close', onClose);
      // Whichever comes first depends on the version of Node.
      if (error) onClose();
      else resolve();
    });
  });
}
