// SPDX-License-Identifier: Apache-2.0
import { type Account, type Hindrance, type InLane, Lanes, laneOf, type Share } from './lanes.ts';
import { type Access, Place, type PlaceOptions, Precedence, predecessorsOf } from './precedence.ts';

/**
 * An operation's place in the order. `waiting`: for an earlier one that touches its bytes.
 * `ready`: for a slot in its lane. `started`, then `released` once it has finished.
 */
export interface Ticket<Work> {
  readonly work: Work;
  readonly state: 'waiting' | 'ready' | 'started' | 'released';
  /** See {@link Place}. */
  transient: boolean;
  readonly readsTransient: boolean;
  readonly torn: boolean;
}

/** Why an operation has not started: it waits for others, of which some are named; or see {@link Hindrance}. */
export type Wait<Work> = { is: 'order'; others: Work[] } | Hindrance;

/** How many predecessors are looked at to find those that were not withdrawn. */
const MAX_LOOKED_AT = 100;

const NOBODY: Share = { client: '', bytes: 0 };

class Entry<Work> extends Place<Entry<Work>> implements Ticket<Work>, InLane {
  readonly work: Work;
  state: Ticket<Work>['state'] = 'waiting';
  lane: number;
  readonly account: Account;
  readonly bytes: number;
  queuedUpTo = 0;
  queuedAs = 0;
  /** Given up before it started; it still keeps its place, so that those behind it wait for those before it. */
  withdrawn = false;

  constructor(
    work: Work,
    accesses: readonly Access[],
    { lane, account, bytes }: Pick<InLane, 'lane' | 'account' | 'bytes'>,
    options: PlaceOptions<Entry<Work>>,
  ) {
    super(accesses, options);
    this.work = work;
    this.lane = lane;
    this.account = account;
    this.bytes = bytes;
  }
}

/** How much may wait. */
export interface WaitingLimits {
  operations: number;
  /** What they would move. */
  bytes: number;
  /** Accesses that operations may have together until they are released. */
  accesses: number;
}

/** What a client has taken of what it may take. */
export interface ClientUse {
  /** Of what is accepted and has not started. */
  waitingBytes: number;
  /** What it could move at once; undefined if its rate is not limited. */
  spendableBytes: number | undefined;
  /** How long it takes until what moved as it came is paid for. */
  owedMs: number;
}

export interface SchedulerOptions {
  /** For each lane, how many of its operations may run at a time. */
  lanes: readonly number[];
  /** How a client with a limited rate shares it among its lanes. */
  weights?: readonly number[];
  /** Of all clients together, and of each. One that has nothing waiting is always let in. */
  maxWaiting: WaitingLimits;
  maxWaitingOfOne: WaitingLimits;
  /** How much the order may take to remember: claimed fragments, their readers, who waits for whom. */
  maxEntries: number;
}

/**
 * The order of operations. Those whose bytes touch, where at least one writes, start one after the
 * other as they were accepted; others run side by side, as many as their lane has slots, the
 * clients by turns. Slots are shared, but one that has nothing running in a lane need not wait for
 * those who have: so nobody's flood keeps anybody else out. Pure: it starts nothing itself and
 * knows no clock.
 *
 * Nothing can deadlock: an operation waits only for earlier ones, and holds its slot only while it
 * runs.
 */
export class Scheduler<Work> {
  readonly #order = new Precedence<Entry<Work>>();
  readonly #lanes: Lanes<Entry<Work>>;
  readonly #maxWaiting: WaitingLimits;
  readonly #maxWaitingOfOne: WaitingLimits;
  readonly #maxEntries: number;
  #waiting = 0;
  #waitingBytes = 0;
  #started = 0;

  constructor(options: SchedulerOptions) {
    this.#lanes = new Lanes(options.lanes, options.weights);
    this.#maxWaiting = options.maxWaiting;
    this.#maxWaitingOfOne = options.maxWaitingOfOne;
    this.#maxEntries = options.maxEntries;
  }

  /** Operations that were accepted and have not started. */
  get waiting(): number {
    return this.#waiting;
  }

  get started(): number {
    return this.#started;
  }

  /** How much the order remembers: claimed fragments, their readers, who waits for whom. */
  get entries(): number {
    return this.#order.entries;
  }

  /** Whether {@link accept}, so many times, would take more of a client than is bounded. */
  isFull(client = NOBODY.client, count = 1): boolean {
    const account = this.#lanes.find(client);
    if (account === undefined || account.waiting === 0) return this.entries >= 2 * this.#maxEntries;
    const { waiting, waitingBytes: bytes, accesses } = account;
    const own = { operations: waiting + count - 1, bytes, accesses };
    const all = {
      operations: this.#waiting + count - 1,
      bytes: this.#waitingBytes,
      accesses: this.#order.accesses,
    };
    return (
      reaches(own, this.#maxWaitingOfOne) ||
      reaches(all, this.#maxWaiting) ||
      this.entries >= this.#maxEntries
    );
  }

  /** How many operations of a client in one lane are not over. */
  openOf(client: string, lane: number): number {
    return this.#lanes.find(client)?.lanes[lane]?.open ?? 0;
  }

  /**
   * Gives an operation its place behind all that were accepted before.
   *
   * @param now milliseconds of a clock that does not step, as in all that follows
   */
  accept(
    work: Work,
    accesses: readonly Access[],
    lane: number,
    share: Share = NOBODY,
    now = 0,
    options: PlaceOptions<Ticket<Work>> = {},
  ): Ticket<Work> {
    const place = options as PlaceOptions<Entry<Work>>;
    const account = this.#lanes.accountOf(share, now);
    const entry = new Entry(work, accesses, { lane, account, bytes: share.bytes }, place);
    this.#order.enter(entry, place.after);
    account.accesses += entry.weight;
    laneOf(entry).open++;
    this.#count(entry, 1);
    if (entry.blockers === 0) this.#becomeReady(entry, now);
    return entry;
  }

  /**
   * One that is transient is about to write.
   *
   * @returns whether it may, later; undefined: it may now
   */
  begin(ticket: Ticket<Work>): Promise<boolean> | undefined {
    const waits = this.#order
      .begin(ticket as Entry<Work>)
      .map(({ unsettled }) => unsettled?.())
      .filter((wait) => wait !== undefined);
    if (waits.length === 0) return undefined;
    return Promise.all(waits).then((known) => !known.includes(false));
  }

  /** One that has started ends with these bytes half-written; to be called before its release. */
  tear(ticket: Ticket<Work>, bytes: Omit<Access, 'write'>): void {
    this.#order.tear(ticket as Entry<Work>, bytes);
  }

  /** Starts the next operation that may start now; undefined if none may. */
  startNext(now = 0): Ticket<Work> | undefined {
    const entry = this.#lanes.startNext(now);
    if (entry === undefined) return undefined;
    entry.state = 'started';
    this.#started++;
    this.#count(entry, -1);
    return entry;
  }

  /** Moves an operation that has not started into another lane, behind all that are ready there. */
  move(ticket: Ticket<Work>, lane: number, now = 0): void {
    const entry = ticket as Entry<Work>;
    const { state } = entry;
    if (entry.withdrawn || (state !== 'waiting' && state !== 'ready')) return;
    if (state === 'ready') this.#lanes.withdraw(entry, now);
    laneOf(entry).open--;
    entry.lane = lane;
    laneOf(entry).open++;
    if (state === 'ready') this.#lanes.queue(entry, now);
  }

  /** Why an operation has not started; undefined if it has, or shall not any more. */
  waitOf(ticket: Ticket<Work>, now = 0): Wait<Work> | undefined {
    const entry = ticket as Entry<Work>;
    if (entry.withdrawn) return undefined;
    if (entry.state === 'waiting') return { is: 'order', others: waitsFor(entry) };
    return entry.state === 'ready' ? this.#lanes.hindrance(entry, now) : undefined;
  }

  /** Has the rates that clients have now act on what is queued: see {@link startNext}. */
  setRates(rateOf: (client: string) => number | undefined, now: number): void {
    this.#lanes.setRates(rateOf, now);
  }

  /** Forgets what finished operations have claimed: see {@link Precedence.forget}. */
  forget(most: number): boolean {
    return this.#order.forget(most);
  }

  /** Milliseconds until a client may spend more, and {@link startNext} is worth a try; or Infinity. */
  get wait(): number {
    return this.#lanes.wait;
  }

  /**
   * Counts bytes that move as they come, beside operations.
   *
   * @returns how long their client should wait before more, in milliseconds
   */
  charge(share: Share, now: number): number {
    return this.#lanes.accountOf(share, now).budget?.charge(share.bytes, now) ?? 0;
  }

  /** What a client has taken. */
  useOf(share: Omit<Share, 'bytes'>, now: number): ClientUse {
    const { waitingBytes, budget } = this.#lanes.accountOf({ ...share, bytes: 0 }, now);
    return {
      waitingBytes,
      spendableBytes: budget?.spendable(now),
      owedMs: budget?.owedMs ?? 0,
    };
  }

  /**
   * Ends an operation: one that has run, or one that shall not start any more. Those
   * that waited for it become ready, if they wait for no other.
   */
  release(ticket: Ticket<Work>, now = 0): void {
    const entry = ticket as Entry<Work>;
    if (entry.state === 'released' || entry.withdrawn) return;
    laneOf(entry).open--;
    if (entry.state === 'waiting') {
      entry.withdrawn = true;
      return;
    }
    if (entry.state === 'started') {
      this.#lanes.end(entry);
      this.#started--;
    } else {
      this.#lanes.withdraw(entry, now);
      this.#count(entry, -1);
    }
    this.#leave(entry, now);
  }

  #leave(first: Entry<Work>, now: number): void {
    // A loop and not a recursion: thousands may have been withdrawn one behind the other.
    const leaving = [first];
    for (let entry = leaving.pop(); entry !== undefined; entry = leaving.pop()) {
      entry.state = 'released';
      entry.account.accesses -= entry.weight;
      for (const next of this.#order.leave(entry)) {
        if (next.withdrawn) {
          this.#count(next, -1);
          leaving.push(next);
        } else {
          this.#becomeReady(next, now);
        }
      }
    }
  }

  #becomeReady(entry: Entry<Work>, now: number): void {
    entry.state = 'ready';
    this.#lanes.queue(entry, now);
  }

  /** @param by 1 when it begins to wait, -1 when it ends */
  #count({ account, bytes }: Entry<Work>, by: 1 | -1): void {
    account.waiting += by;
    account.waitingBytes += by * bytes;
    this.#waiting += by;
    this.#waitingBytes += by * bytes;
  }
}

/** Those that an operation waits for; instead of one that was withdrawn, those that this waits for. */
function waitsFor<Work>(entry: Entry<Work>): Work[] {
  const found = new Set<Entry<Work>>();
  const open = predecessorsOf(entry).slice(0, MAX_LOOKED_AT);
  for (let looked = 0; looked < Math.min(open.length, MAX_LOOKED_AT); looked++) {
    const one = open[looked] as Entry<Work>;
    if (one.withdrawn) open.push(...predecessorsOf(one).slice(0, MAX_LOOKED_AT));
    else found.add(one);
  }
  return Array.from(found, ({ work }) => work);
}

function reaches(taken: WaitingLimits, limits: WaitingLimits): boolean {
  return (
    taken.operations >= limits.operations ||
    taken.bytes >= limits.bytes ||
    taken.accesses >= limits.accesses
  );
}
