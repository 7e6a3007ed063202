// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { SegmentList } from '../../base/segments.ts';
import type { BodyPastNode } from '../../http/past-node.ts';
import { fieldProblem, Problem, retryLater } from '../../http/problems/problem.ts';
import { CHUNK_SIZE, chunkBuffers } from '../../http/stream-slots.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { type Completion, MEMORY, SOCKET } from '../engines/records.ts';
import type { HashStream } from '../hashing/hash-thread.ts';
import { type ArrivalLimits, ArrivingBody } from './arriving-body.ts';
import { checkBadBlocks, checkOnline, type Device, goneProblem } from './device.ts';
import { fileProblem } from './emulated.ts';
import { FIRST_SLICE, nextSlice, wasRefused } from './slices.ts';
import { type Pace, throttle } from './throttle.ts';

const { ECANCELED, ECONNRESET, ENOTCONN } = constants.errno;

/** Where an upload goes. */
export interface UploadTarget {
  device: Device;
  offset: number;
  /** The body's, in bytes; undefined if it is not known. */
  length: number | undefined;
  /** Whether its bytes are to be persistent once it is written. */
  flush: boolean;
}

/**
 * Checks what can be known before a byte arrives.
 *
 * @returns how many bytes may be written
 * @throws Problem out_of_range, payload_too_large, bad_block or device_gone
 */
export function checkUpload({ device, offset, length }: Omit<UploadTarget, 'flush'>): number {
  if (offset > device.size) {
    const detail = `${device.name} has ${device.size} bytes: offset ${offset} lies past its end.`;
    throw fieldProblem('out_of_range', '/offset', detail);
  }
  const room = device.size - offset;
  if (length !== undefined && length > room) throw doesNotFit(device, offset, 0);
  if (length !== undefined) {
    checkBadBlocks({ device, offset, size: length, offsetPointer: '/offset', sizePointer: '' });
  }
  checkOnline(device);
  return room;
}

/** Throttling does not count as waiting for more. */
export interface UploadOptions extends ArrivalLimits {
  /** Ends throttling: it was broken off, or its client went away. */
  gone: AbortSignal;
  pace: Pace;
  /** Is called with the number of bytes each time some were written. */
  moved(bytes: number): void;
  /** Is given all that is written. */
  hash?: HashStream | undefined;
  /** By which the shim receives it, past Node; undefined if Node has to. Its length is known. */
  past?: BodyPastNode | undefined;
}

/**
 * Writes a body into a device as it arrives: what Node reads of it through two buffers, and what it does
 * not straight from the connection.
 */
export class Upload {
  bytesWritten = 0;
  /** Whether some of that was to be flushed and may not be, for the device failed. */
  leftUnflushed = false;
  /** Whether it may have changed a byte. */
  begun = false;
  readonly #begin: () => Promise<boolean> | undefined;
  /** CRC-32C of what was written. */
  crc = 0;
  readonly #engine: Engine;
  readonly #target: UploadTarget;
  readonly #room: number;
  readonly #buffers = chunkBuffers();
  #filling = 0;
  #filled = 0;
  #inFlight = 0;
  #writing: Promise<void> = Promise.resolve();
  #moved: UploadOptions['moved'] = () => {};
  #hash: HashStream | undefined;
  /** Whether what Node had not read was received past it. */
  #passed = false;

  /** @param begin is called before the first byte is written, which waits for what it returns */
  constructor(
    engine: Engine,
    target: UploadTarget,
    begin: () => Promise<boolean> | undefined = () => undefined,
  ) {
    this.#engine = engine;
    this.#begin = begin;
    this.#target = target;
    this.#room = checkUpload(target);
  }

  /**
   * Writes all that comes. What arrived before an error stays written, and `bytesWritten` counts it.
   *
   * @throws Problem payload_too_large, bad_block, request_timeout, shutting_down, or what the
   *   engine met; whatever error the body ends with
   */
  async receive(body: Readable, options: UploadOptions): Promise<void> {
    const arriving = new ArrivingBody(body, options);
    this.#moved = options.moved;
    this.#hash = options.hash;
    try {
      for (;;) {
        const chunk = arriving.read() ?? (await arriving.wait());
        if (chunk === undefined) break;
        await this.#take(chunk);
        // While the client's bytes wait in its own buffers.
        await throttle(options.pace, chunk.length, options.gone);
        // Not before there is a byte: until then it has not begun.
        const { past } = options;
        if (past !== undefined && !this.#passed) await this.#receivePast(past, arriving, options);
      }
    } catch (error) {
      // What arrived before the error is kept; an error of the engine's own comes again here.
      await this.#writeRest().catch(() => {});
      throw error;
    } finally {
      arriving.close();
    }
    await this.#writeRest();
    const problem = fileProblem(this.#target.device);
    if (problem !== undefined) throw problem;
  }

  /**
   * Writes what Node has read, and has the shim receive the rest. If the connection ends before it, Node
   * has it back, and meets that itself.
   */
  async #receivePast(
    past: BodyPastNode,
    arriving: ArrivingBody,
    { pace, gone }: UploadOptions,
  ): Promise<void> {
    this.#passed = true;
    try {
      if (!(await past.stop())) return;
      for (let chunk = arriving.read(); chunk !== undefined; chunk = arriving.read()) {
        await this.#take(chunk);
        await throttle(pace, chunk.length, gone);
      }
      await this.#writeRest();
      for (let slice = FIRST_SLICE; this.bytesWritten < (this.#target.length ?? 0); ) {
        const completion = await this.#receiveSlice(slice, past, arriving);
        if (this.#isOver(completion, arriving)) return;
        slice = nextSlice(slice, await throttle(pace, completion.bytesDone, gone));
      }
    } finally {
      past.release();
    }
  }

  async #receiveSlice(
    most: number,
    past: BodyPastNode,
    arriving: ArrivingBody,
  ): Promise<Completion> {
    const { device, offset, length = 0, flush } = this.#target;
    const size = Math.min(most, length - this.bytesWritten);
    const at = offset + this.bytesWritten;
    checkBadBlocks({ device, offset: at, size, offsetPointer: '/offset', sizePointer: '' });
    const job = {
      source: SOCKET,
      destination: device.handle,
      engine: 'cpu',
      priority: 'normal',
      segments: SegmentList.of({ src_offset: 0, dst_offset: at, size }),
      descriptor: () => past.descriptor(),
      checksum: true,
      crcSeed: this.crc,
      flush,
    } as const;
    const engine = this.#engine;
    let tag = 0;
    // While a thread is at it, the device may be what is slow.
    const isReady = () =>
      engine.socketReady(past.descriptor(), 'receives') || engine.isRunning(tag);
    const completion = await arriving.elsewhere(size, isReady, (signal, arrived) => {
      let done = 0;
      const progress = (bytesDone: number) => {
        arrived(bytesDone - done);
        this.#moved(bytesDone - done);
        done = bytesDone;
      };
      return engine.runUntil(job, signal, progress, (submitted) => {
        tag = submitted;
      });
    });
    this.bytesWritten += completion.bytesDone;
    // A job that did not begin has none.
    if (completion.bytesDone > 0) this.crc = completion.sourceCrc;
    // What came until then is flushed, also if the client left or was too slow.
    const flushed = [0, -ECONNRESET, -ECANCELED].includes(completion.status);
    if (flush && !flushed && completion.bytesDone > 0) this.leftUnflushed = true;
    past.skip(completion.received);
    return completion;
  }

  /** Whether it is Node's turn again, as when the connection has ended. @throws Problem what else ended the job */
  #isOver(completion: Completion, arriving: ArrivingBody): boolean {
    const { status } = completion;
    if (status === 0) return false;
    arriving.throwIfOver();
    const { device } = this.#target;
    const gone = goneProblem(device);
    if (gone !== undefined) throw gone;
    if (wasRefused(completion)) return true;
    if ([-ECONNRESET, -ENOTCONN, -ECANCELED].includes(status)) return true;
    throw jobProblem(completion, device.name);
  }

  async #writeRest(): Promise<void> {
    await this.#writing;
    await this.#write();
  }

  async #take(chunk: Buffer): Promise<void> {
    const { device, offset } = this.#target;
    const room = this.#room - this.bytesWritten - this.#filled - this.#inFlight;
    const fitting = chunk.length <= room ? chunk : chunk.subarray(0, room);
    for (let taken = 0; taken < fitting.length; ) {
      const buffer = this.#buffers[this.#filling] as Buffer;
      const copied = fitting.copy(buffer, this.#filled, taken);
      taken += copied;
      this.#filled += copied;
      if (this.#filled === CHUNK_SIZE) {
        await this.#writing;
        this.#writing = this.#write();
        // An error is met where the write is waited for, which may be later than it comes.
        this.#writing.catch(() => {});
      }
    }
    if (fitting.length < chunk.length) throw doesNotFit(device, offset, this.#room);
  }

  /** Hands the buffer that was filled to the engine, and goes on to the other one. */
  async #write(): Promise<void> {
    if (this.#filled === 0) return;
    const { device, offset, flush } = this.#target;
    const size = this.#filled;
    const at = offset + this.bytesWritten;
    const memory = (this.#buffers[this.#filling] as Buffer).subarray(0, size);
    checkBadBlocks({ device, offset: at, size, offsetPointer: '/offset', sizePointer: '' });
    this.#filling ^= 1;
    this.#filled = 0;
    this.#inFlight = size;
    if (!this.begun) {
      // Those that would read what this leaves half-written must know it, whatever comes.
      if ((await this.#begin()) === false) {
        throw retryLater('shutting_down', 'The daemon is shutting down: retry later.');
      }
      this.begun = true;
    }
    const hashing = this.#hash?.hash(memory, false);
    // Met below, or not at all if the write fails.
    hashing?.catch(() => {});
    const completion = await this.#engine.run({
      source: MEMORY,
      destination: device.handle,
      engine: 'cpu',
      priority: 'normal',
      segments: SegmentList.of({ src_offset: 0, dst_offset: at, size }),
      memory,
      checksum: true,
      crcSeed: this.crc,
      // With the piece and not at the end: if the kernel cannot write it, it tells the next sync of
      // that file, whosever that is, and the job that wrote it has to be under way then.
      flush,
    });
    this.#inFlight = 0;
    if (completion.status !== 0) throw jobProblem(completion, device.name);
    this.bytesWritten += size;
    this.crc = completion.sourceCrc;
    this.#moved(size);
    await hashing;
  }
}

function doesNotFit(device: Device, offset: number, written: number): Problem {
  const room = device.size - offset;
  return new Problem(
    'payload_too_large',
    `From offset ${offset} at most ${room} bytes fit into ${device.name}; ${written} were written.`,
  );
}
