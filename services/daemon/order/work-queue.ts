// SPDX-License-Identifier: Apache-2.0
import type { Priority } from '../engines/records.ts';
import { retryLater } from '../problems/problem.ts';
import { type Access, Scheduler, type Ticket } from './scheduler.ts';

/** Starts an operation whose turn has come. */
export type Start = () => void;

/** Up to this size a transfer is small, and does not queue behind large ones. In bytes. */
const SMALL_BYTES = 2 ** 20;
/**
 * How many of a kind the engine works on at a time; it shares its threads among them by priority.
 * Small ones are many so that their completions come in batches; large ones few, for more would
 * only slow each other.
 */
const SMALL_SLOTS = 64;
const LARGE_SLOTS = 8;
const LANES = {
  high: { small: 0, large: 1 },
  normal: { small: 2, large: 3 },
  low: { small: 4, large: 5 },
  upload: 6,
} as const;
const LANE_SLOTS = [
  ...[SMALL_SLOTS, LARGE_SLOTS],
  ...[SMALL_SLOTS, LARGE_SLOTS],
  ...[SMALL_SLOTS, LARGE_SLOTS],
  // An upload runs at its client's pace and holds half a MiB of buffers.
  256,
];
const MAX_WAITING = 10_000;
/** Some 100 bytes each. */
const MAX_ENTRIES = 1_000_000;
/** Two for each segment. Some 100 bytes each, and a microsecond to let go of. */
const MAX_ACCESSES = 262_144;

/** The lane of a transfer, by its share of the engine. */
export function transferLane(priority: Priority, bytes: number): number {
  return LANES[priority][bytes <= SMALL_BYTES ? 'small' : 'large'];
}

export const UPLOAD_LANE = LANES.upload;

/** Everything that is to touch devices in order: admits it, and starts it when its turn comes. */
export class WorkQueue {
  readonly #scheduler = new Scheduler<Start>({
    lanes: LANE_SLOTS,
    maxWaiting: MAX_WAITING,
    maxEntries: MAX_ENTRIES,
    maxAccesses: MAX_ACCESSES,
  });
  readonly #whenIdle: (() => void)[] = [];
  #closing = false;
  #starting = false;

  /** Whether the daemon is shutting down, and takes no new work. */
  get closing(): boolean {
    return this.#closing;
  }

  /** @throws Problem shutting_down or queue_full, where no new work is taken */
  admit(): void {
    if (this.#closing) {
      throw retryLater('shutting_down', 'The daemon is shutting down: retry when it is back.');
    }
    if (this.#scheduler.full) {
      throw retryLater('queue_full', 'Too much is waiting already: retry later.');
    }
  }

  /** Gives an operation its place; `start` may be called before this returns. */
  add(start: Start, accesses: readonly Access[], lane: number): Ticket<Start> {
    const ticket = this.#scheduler.accept(start, accesses, lane);
    this.#startAll();
    return ticket;
  }

  /** An operation is over, or shall not start any more. */
  release(ticket: Ticket<Start>): void {
    this.#scheduler.release(ticket);
    this.#startAll();
    if (this.#idle) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Takes no new work from now on. @returns once what was taken is over */
  async close(): Promise<void> {
    this.#closing = true;
    if (!this.#idle) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  get #idle(): boolean {
    return this.#scheduler.started === 0 && this.#scheduler.waiting === 0;
  }

  #startAll(): void {
    // What ends as soon as it starts comes here again; the loop that is running goes on for it.
    if (this.#starting) return;
    this.#starting = true;
    for (let next = this.#scheduler.startNext(); next; next = this.#scheduler.startNext()) {
      next.work();
    }
    this.#starting = false;
  }
}
