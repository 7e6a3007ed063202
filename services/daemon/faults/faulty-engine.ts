// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { failedCompletion } from '../engines/completions.ts';
import { Engine } from '../engines/engine.ts';
import type { JobListener } from '../engines/jobs-in-flight.ts';
import { type Job, withTimeout } from '../engines/records.ts';
import type { Faults, Strike } from './faults.ts';

const { ECANCELED, EBADMSG, EIO, ENXIO } = constants.errno;
/** What a job ends with that is struck; it has touched nothing, or all if it is a mismatch. */
const STATUSES = { media_error: -EIO, device_gone: -ENXIO } as const;

/** A job that is held back. */
interface Held {
  job: Job;
  listener: JobListener;
  timer: NodeJS.Timeout | undefined;
}

/**
 * An engine whose jobs meet the faults that are set, as those of real hardware would. Its tags are
 * its own: those that are held back have none of the engine's yet.
 */
export class FaultyEngine extends Engine {
  readonly #faults: Faults;
  readonly #held = new Map<number, Held>();
  /** The engine's tags of jobs that were held back and have begun since. */
  readonly #begun = new Map<number, number>();
  #lastTag = 0;

  constructor(faults: Faults) {
    super();
    this.#faults = faults;
    faults.onCleared(() => this.#releaseAll());
  }

  override submit(job: Job, listener: JobListener): number {
    const strike = this.#faults.strike(job);
    if (strike === undefined) return super.submit(job, listener);
    switch (strike.kind) {
      case 'media_error':
      case 'device_gone':
        return this.#fail(STATUSES[strike.kind], strike, listener);
      case 'verify_mismatch':
        return super.submit(job, mismatching(listener, strike));
      case 'slow':
        return this.#hold(job, listener, strike.delayMs);
      case 'hang':
        return this.#hold(job, listener, undefined);
    }
  }

  override cancel(tag: number): void {
    const held = this.#held.get(tag);
    if (held === undefined) {
      super.cancel(this.#begun.get(tag) ?? tag);
      return;
    }
    clearTimeout(held.timer);
    this.#held.delete(tag);
    setImmediate(() => held.listener.done(failedCompletion(tag, -ECANCELED)));
  }

  override setTimeout(tag: number, timeoutMs: number | undefined): void {
    const held = this.#held.get(tag);
    if (held !== undefined) held.job = withTimeout(held.job, timeoutMs);
    else if (tag > 0) super.setTimeout(tag, timeoutMs);
    else if (this.#begun.has(tag)) super.setTimeout(this.#begun.get(tag) as number, timeoutMs);
  }

  override close(): void {
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    super.close();
  }

  #fail(status: number, { segment }: Strike, listener: JobListener): number {
    const tag = this.#nextTag();
    // Later, as the engine itself would.
    setImmediate(() => listener.done({ ...failedCompletion(tag, status), segment }));
    return tag;
  }

  /** @param ms undefined: until it is cancelled, or the faults are removed */
  #hold(job: Job, listener: JobListener, ms: number | undefined): number {
    const tag = this.#nextTag();
    const timer = ms === undefined ? undefined : setTimeout(() => this.#release(tag), ms);
    this.#held.set(tag, { job, listener, timer });
    return tag;
  }

  #release(tag: number): void {
    const held = this.#held.get(tag);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(tag);
    const { job, listener } = held;
    const own = super.submit(job, {
      progress: (bytes, byCpu) => listener.progress?.(bytes, byCpu),
      done: (completion) => {
        this.#begun.delete(tag);
        listener.done(completion);
      },
    });
    this.#begun.set(tag, own);
  }

  #releaseAll(): void {
    for (const tag of [...this.#held.keys()]) this.#release(tag);
  }

  /** Negative, as the engine's never are. */
  #nextTag(): number {
    return --this.#lastTag;
  }
}

/** The copy is made; what was compared differs. */
function mismatching(listener: JobListener, { segment }: Strike): JobListener {
  return {
    progress: (bytes, byCpu) => listener.progress?.(bytes, byCpu),
    done: (completion) =>
      listener.done(
        completion.status === 0 ? { ...completion, status: -EBADMSG, segment } : completion,
      ),
  };
}
