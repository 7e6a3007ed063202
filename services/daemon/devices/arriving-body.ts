// SPDX-License-Identifier: Apache-2.0
import type { Readable } from 'node:stream';
import { Problem } from '../../http/problems/problem.ts';

/**
 * An upload keeps others from its range, so it may be slow, but not for ever: so many bytes must
 * arrive, or the end, within so many times what it may be idle.
 */
const MIN_PROGRESS = 2 ** 16;
const PROGRESS_IDLES = 6;

/** How often a wait is looked at, in what a body may be idle: a timer for each would cost more. */
const LOOKS = 8;

const EVENTS = ['readable', 'end', 'close'];

export interface ArrivalLimits {
  /**
   * How long to wait for more, in milliseconds, and six times that for 64 KiB; up to an eighth of it
   * passes before that is noticed.
   */
  idleMs: number;
  /** Breaks it off, for its reason. */
  signal: AbortSignal;
}

/**
 * The chunks of a body, each in time; those that are there already cost no promise and no timer. The
 * body is not destroyed: an answer must go out.
 */
export class ArrivingBody {
  readonly #body: Readable;
  readonly #limits: ArrivalLimits;
  #leftMs: number;
  #arrived = 0;
  /** When a wait is too long, and that it was found to be. */
  #until = Number.POSITIVE_INFINITY;
  #late = false;
  readonly #looking: NodeJS.Timeout;
  /** Ends a wait. */
  #wake = () => {};
  readonly #onEvent = () => this.#wake();
  /** What was found wrong with it on its way. */
  #error: Error | undefined;
  readonly #onError = (error: Error) => {
    this.#error = error;
    this.#wake();
  };
  readonly #look = () => {
    this.#late = performance.now() >= this.#until;
    if (this.#late) this.#wake();
  };

  constructor(body: Readable, limits: ArrivalLimits) {
    this.#body = body;
    this.#limits = limits;
    this.#leftMs = PROGRESS_IDLES * limits.idleMs;
    // After what came while the event loop was busy: that has arrived in time.
    this.#looking = setInterval(() => setImmediate(this.#look), limits.idleMs / LOOKS);
    for (const event of EVENTS) body.on(event, this.#onEvent);
    body.on('error', this.#onError);
    limits.signal.addEventListener('abort', this.#onEvent);
  }

  /** Lets the body go, as far as it was read. */
  close(): void {
    clearInterval(this.#looking);
    for (const event of EVENTS) this.#body.off(event, this.#onEvent);
    this.#body.off('error', this.#onError);
    this.#limits.signal.removeEventListener('abort', this.#onEvent);
  }

  /** @returns what is there; undefined for nothing @throws the signal's reason */
  read(): Buffer | undefined {
    this.#limits.signal.throwIfAborted();
    const chunk: Buffer | null = this.#body.read();
    if (chunk === null) return undefined;
    this.#count(chunk.length);
    return chunk;
  }

  /**
   * Waits for bytes that do not come through the body, in time as those that do.
   *
   * @param size how many; what happens once they are there has no time limit
   * @param isReady whether some are there, and it is not the client who keeps them waiting
   * @param receive is to end early where its signal says so, and to tell of bytes as they come
   */
  async elsewhere<Result>(
    size: number,
    isReady: () => boolean,
    receive: (signal: AbortSignal, arrived: (bytes: number) => void) => Promise<Result>,
  ): Promise<Result> {
    const ended = new AbortController();
    let since = performance.now();
    let missing = size;
    const wait = () => {
      const most = Math.min(this.#limits.idleMs, this.#leftMs);
      this.#until = missing > 0 ? since + most : Number.POSITIVE_INFINITY;
    };
    this.#late = false;
    wait();
    this.#wake = () => {
      if (this.#late && isReady()) {
        this.#late = false;
        since = performance.now();
        wait();
      }
      if (this.#late || this.#limits.signal.aborted || this.#body.destroyed) ended.abort();
    };
    this.#wake();
    try {
      return await receive(ended.signal, (bytes) => {
        if (bytes === 0) return;
        const before = since;
        since = performance.now();
        this.#leftMs -= since - before;
        this.#count(bytes);
        missing -= bytes;
        wait();
      });
    } finally {
      this.#until = Number.POSITIVE_INFINITY;
      this.#wake = () => {};
    }
  }

  /** @throws Problem request_timeout, or the signal's reason, if the last wait ended by that */
  throwIfOver(): void {
    this.#limits.signal.throwIfAborted();
    if (this.#late) throw this.#tooLate();
  }

  #count(bytes: number): void {
    this.#arrived += bytes;
    if (this.#arrived >= MIN_PROGRESS) {
      this.#leftMs = PROGRESS_IDLES * this.#limits.idleMs;
      this.#arrived = 0;
    }
  }

  /**
   * Waits for what comes when nothing is there.
   *
   * @returns undefined for the end
   * @throws Problem request_timeout; the signal's reason; the error that the body ends with
   */
  async wait(): Promise<Buffer | undefined> {
    let now = performance.now();
    this.#until = now + Math.min(this.#limits.idleMs, this.#leftMs);
    this.#late = false;
    while (!this.#late) {
      if (this.#body.readableEnded) return undefined;
      if (this.#error !== undefined) throw this.#error;
      if (this.#body.destroyed) throw this.#body.errored ?? new Error('the body was cut short');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const before = now;
      now = performance.now();
      this.#leftMs -= now - before;
      const chunk = this.read();
      if (chunk !== undefined) return chunk;
    }
    throw this.#tooLate();
  }

  #tooLate(): Problem {
    const idle = this.#limits.idleMs / 1000;
    const detail =
      `Nothing came for ${idle} s, or less than ${MIN_PROGRESS} bytes in ${PROGRESS_IDLES * idle} s, ` +
      'though not all was there: send faster, or raise DMAD_UPLOAD_IDLE_SECONDS. ' +
      'What did arrive is written.';
    return new Problem('request_timeout', detail, { headers: { connection: 'close' } });
  }
}
