// SPDX-License-Identifier: Apache-2.0
import { type HeapOptions, heapShare } from '../../base/heap.ts';
import { type Problem, retryLater } from '../../http/problems/problem.ts';
import type { Access } from './precedence.ts';
import { type ClientUse, Scheduler, type Ticket } from './scheduler.ts';
import { type ShownWait, shownWait } from './shown-wait.ts';
import type { Work } from './work.ts';
import { LANE_SLOTS, LANE_WEIGHTS, TRANSFER_LANES, UPLOAD_LANE } from './work-lanes.ts';

/** Work that is to be given its place in the order. */
export interface NewWork extends Work {
  accesses: readonly Access[];
  lane: number;
  /** That it moves, if they are to be reckoned before it starts; else see {@link WorkQueue.pace}. */
  bytes: number;
  /** Whether a crash does not forget it. */
  kept?: boolean;
  /**
   * Is called once work that a crash forgets has begun to write what it reads; that goes on once
   * the promise resolves.
   */
  unsettled?: () => Promise<boolean> | undefined;
  /** Earlier work that it waits for, whatever bytes that touches. */
  after?: readonly Ticket<Work>[];
}

/**
 * What may wait, of one client and of all together: two clients fill the queue, not one. Bytes:
 * hours at any speed that memory has.
 */
const MAX_WAITING_OF_ONE = { operations: 100_000, bytes: 64 * 2 ** 40, accesses: 262_144 };
const MAX_WAITING = { operations: 200_000, bytes: 128 * 2 ** 40, accesses: 524_288 };
/** Some 100 bytes each. */
const MAX_ENTRIES = 2_000_000;
/** What a transfer that waits takes of V8's heap: its request, its place in the order, its row. */
const WAITING_HEAP_BYTES = 7 * 2 ** 10;
/** The rest is for what is finished, for requests and for V8's own need of room. */
const WAITING_HEAP_PART = 0.4;

/** Of what was claimed, in fragments: some 2 ms. */
const FORGOTTEN_A_TURN = 4096;

/** By then it may be over. */
const OVERLOAD_SECONDS = 5;

/** What a client may take; absent: what the queue has. */
export interface QueueLimits {
  /** Transfers that have not finished. */
  transfersInFlight?: number | undefined;
  bytesPerSecond?: number | undefined;
}

export interface QueueUse extends ClientUse {
  limits: QueueLimits;
  /** Transfers that have not finished. */
  transfersInFlight: number;
}

/** What work in its turn tells the order. */
export interface Turn {
  /** To be called before it writes. @returns a promise of whether it may, or undefined if it may at once */
  begin(): Promise<boolean> | undefined;
  /** It leaves all bytes behind the first so many unwritten. */
  tearAfter(written: number): void;
}

/** With a small heap, less may wait. */
export interface WorkQueueOptions extends HeapOptions {
  /** What the client of that name may take, now. */
  limitsOf(client: string): QueueLimits;
  /** Whether the daemon has so much to do that new work had better go elsewhere, or come later. */
  overloaded(): boolean;
}

function shareOf(limits: typeof MAX_WAITING, share: number): typeof MAX_WAITING {
  const { operations, bytes, accesses } = limits;
  return {
    operations: Math.floor(operations * share),
    bytes,
    accesses: Math.floor(accesses * share),
  };
}

/** Everything that is to touch devices in order: admits it, and starts it when its turn comes. */
export class WorkQueue {
  readonly #scheduler: Scheduler<Work>;
  readonly #options: WorkQueueOptions;
  readonly #whenIdle: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closing = false;
  #starting = false;
  #forgetting = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    const most = MAX_WAITING.operations * WAITING_HEAP_BYTES;
    const share = heapShare(options, WAITING_HEAP_PART, most);
    this.#scheduler = new Scheduler<Work>({
      lanes: LANE_SLOTS,
      weights: LANE_WEIGHTS,
      maxWaiting: shareOf(MAX_WAITING, share),
      maxWaitingOfOne: shareOf(MAX_WAITING_OF_ONE, share),
      maxEntries: Math.floor(MAX_ENTRIES * share),
    });
  }

  /** Whether the daemon is shutting down, and takes no new work. */
  get closing(): boolean {
    return this.#closing;
  }

  /** How much the order remembers: see {@link Scheduler.entries}. */
  get entries(): number {
    return this.#scheduler.entries;
  }

  /** @throws Problem shutting_down, overloaded or queue_full, where no new work of that client is taken */
  admit(client: string, count = 1): void {
    if (this.#closing) {
      throw retryLater('shutting_down', 'The daemon is shutting down: retry when it is back.');
    }
    if (this.#options.overloaded()) {
      const detail = 'The daemon has more requests than it can answer in time: retry later.';
      throw retryLater('overloaded', detail, OVERLOAD_SECONDS);
    }
    if (this.#scheduler.isFull(client, count)) {
      throw retryLater('queue_full', 'Too much is waiting already: retry later.');
    }
  }

  /** The same for so many transfers, of which a client may have only so many. */
  admitTransfers(client: string, count: number): void {
    this.admit(client, count);
    const { transfersInFlight = Number.POSITIVE_INFINITY } = this.#options.limitsOf(client);
    if (this.#transfersOf(client) + count > transfersInFlight) throw tooMany(transfersInFlight);
  }

  /** What a client may take, and what of it it has taken now. */
  useOf(client: string): QueueUse {
    const limits = this.#options.limitsOf(client);
    const { bytesPerSecond } = limits;
    return {
      limits,
      transfersInFlight: this.#transfersOf(client),
      ...this.#scheduler.useOf({ client, bytesPerSecond }, performance.now()),
    };
  }

  #transfersOf(client: string): number {
    return TRANSFER_LANES.reduce((sum, lane) => sum + this.#scheduler.openOf(client, lane), 0);
  }

  /** Gives work its place; `start` may be called before this returns. */
  add({
    accesses,
    lane,
    bytes,
    kept = false,
    unsettled,
    after = [],
    kind,
    id,
    client,
    start,
  }: NewWork): Ticket<Work> {
    const { bytesPerSecond } = this.#options.limitsOf(client);
    const share = { client, bytes, bytesPerSecond };
    const work = { kind, id, client, start };
    const now = performance.now();
    const options = { transient: !kept, unsettled, after };
    const ticket = this.#scheduler.accept(work, accesses, lane, share, now, options);
    this.#startAll();
    return ticket;
  }

  /** Moves work that has not started into another lane; it may start before this returns. */
  move(ticket: Ticket<Work>, lane: number): void {
    this.#scheduler.move(ticket, lane, performance.now());
    this.#startAll();
  }

  /** Why work has not started; undefined if it has. */
  waitOf(ticket: Ticket<Work>): ShownWait | undefined {
    const wait = this.#scheduler.waitOf(ticket, performance.now());
    return wait && shownWait(wait, ticket.work.client);
  }

  /**
   * Does work that overwrites bytes of a device when its turn comes, and lets those behind it go on,
   * however it ends. The client has been admitted.
   *
   * @param size bytes from `offset`; 0: none in particular
   * @param left ends the wait
   * @throws Error the reason of `left`, or what the work throws
   */
  async inTurn<Result>(
    { kind, client }: Pick<Work, 'kind' | 'client'>,
    { device, offset, size }: Pick<Access, 'device' | 'offset' | 'size'>,
    left: AbortSignal,
    work: (turn: Turn) => Promise<Result>,
  ): Promise<Result> {
    const accesses = size === 0 ? [] : [{ device, offset, size, write: true }];
    let start = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      start = resolve;
      const leave = () => reject(left.reason);
      if (left.aborted) leave();
      left.addEventListener('abort', leave);
    });
    const ticket = this.add({ kind, client, start, accesses, lane: UPLOAD_LANE, bytes: 0 });
    try {
      await turn;
      return await work({
        begin: () => this.begin(ticket),
        tearAfter: (written) => {
          const bytes = { device, offset: offset + written, size: size - written };
          this.#scheduler.tear(ticket, bytes);
        },
      });
    } finally {
      this.release(ticket);
    }
  }

  /** What clients may take has changed: it holds for what is queued, too. */
  limitsChanged(): void {
    this.#scheduler.setRates(
      (client) => this.#options.limitsOf(client).bytesPerSecond,
      performance.now(),
    );
    this.#startAll();
  }

  /**
   * A client has moved bytes of content.
   *
   * @returns how long it should wait before it moves more, in milliseconds, at the rate it has now
   */
  pace(client: string, bytes: number): number {
    const { bytesPerSecond } = this.#options.limitsOf(client);
    if (bytesPerSecond === undefined) return 0;
    return this.#scheduler.charge({ client, bytes, bytesPerSecond }, performance.now());
  }

  /** Work that a crash forgets is about to write. @returns as {@link Turn.begin} */
  begin(ticket: Ticket<Work>): Promise<boolean> | undefined {
    return this.#scheduler.begin(ticket);
  }

  /** An operation has finished, or shall not start any more. */
  release(ticket: Ticket<Work>): void {
    this.#scheduler.release(ticket, performance.now());
    this.#startAll();
    this.#forget();
    if (this.#idle) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Takes no new work from now on. @returns once what was taken has finished */
  async close(): Promise<void> {
    this.#closing = true;
    if (!this.#idle) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  get #idle(): boolean {
    return this.#scheduler.started === 0 && this.#scheduler.waiting === 0;
  }

  /** Forgets what was claimed, a little in each turn of the event loop. */
  #forget(): void {
    if (this.#forgetting) return;
    this.#forgetting = this.#scheduler.forget(0);
    if (!this.#forgetting) return;
    setImmediate(() => {
      this.#forgetting = false;
      this.#scheduler.forget(FORGOTTEN_A_TURN);
      this.#forget();
    });
  }

  #startAll(): void {
    // What ends as soon as it starts comes here again; the loop that is running goes on for it.
    if (this.#starting) return;
    this.#starting = true;
    const next = () => this.#scheduler.startNext(performance.now());
    for (let ticket = next(); ticket; ticket = next()) ticket.work.start();
    this.#starting = false;
    clearTimeout(this.#timer);
    const { wait } = this.#scheduler;
    // At most a day: the longest that a timer can wait is 25.
    const ms = Math.min(Math.ceil(wait), 86_400_000);
    if (Number.isFinite(wait)) this.#timer = setTimeout(() => this.#startAll(), ms);
  }
}

function tooMany(transfers: number): Problem {
  const detail = `This token may have ${transfers} transfers that are not over: wait for one.`;
  return retryLater('queue_full', detail);
}
