// SPDX-License-Identifier: Apache-2.0
import { Budget } from './budget.ts';
import { Claims } from './claims.ts';

/** Bytes that an operation touches. */
export interface Access {
  /** Any value that is the same for the same device. */
  device: number;
  offset: number;
  size: number;
  write: boolean;
}

/**
 * An operation's place in the order. `waiting`: for an earlier one that touches its bytes.
 * `ready`: for a slot in its lane. `started`, then `released` once it is over.
 */
export interface Ticket<Work> {
  readonly work: Work;
  readonly state: 'waiting' | 'ready' | 'started' | 'released';
}

/** Whose an operation is. */
export interface Share {
  /** Any name; the operations of one name share what follows. */
  client: string;
  /** What it moves, in bytes. */
  bytes: number;
  /** What the client may move; undefined: as much as it can. */
  bytesPerSecond?: number | undefined;
}

/** What one client has taken of the scheduler. */
interface Account<Work> {
  /** Accepted and not started. */
  waiting: number;
  waitingBytes: number;
  accesses: number;
  /** Of each lane: ready, and started; and accepted without having ended or been withdrawn. */
  readonly lanes: { ready: Set<Entry<Work>>; started: number; open: number }[];
  budget: Budget | undefined;
}

const NOBODY: Share = { client: '', bytes: 0 };

interface Entry<Work> extends Ticket<Work> {
  state: Ticket<Work>['state'];
  readonly accesses: readonly Access[];
  /** How many accesses it was accepted with, before they were merged. */
  readonly weight: number;
  readonly lane: number;
  readonly account: Account<Work>;
  readonly bytes: number;
  /** How many earlier operations it still waits for. */
  blockers: number;
  readonly blocked: Set<Entry<Work>>;
  /** Given up before it started; it still keeps its place, so that those behind it wait for those before it. */
  withdrawn: boolean;
}

/**
 * Operations of one kind, which share a number of slots. Of each client's, first ready, first
 * started; among clients by turns.
 */
interface Lane<Work> {
  readonly slots: number;
  started: number;
  /** Whoever has something ready, the next one first. */
  readonly turns: Set<Account<Work>>;
}

/** How much may wait. */
export interface WaitingLimits {
  operations: number;
  /** What they would move. */
  bytes: number;
  /** Accesses that operations may have together until they are released. */
  accesses: number;
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
  readonly #lanes: Lane<Work>[];
  readonly #weights: readonly number[];
  readonly #maxWaiting: WaitingLimits;
  readonly #maxWaitingOfOne: WaitingLimits;
  readonly #maxEntries: number;
  /** One for each name that ever came: those of tokens and users, which are few. */
  readonly #accounts = new Map<string, Account<Work>>();
  readonly #claims = new Map<number, Claims<Entry<Work>>>();
  #edges = 0;
  #accesses = 0;
  #waiting = 0;
  #waitingBytes = 0;
  #started = 0;

  constructor(options: SchedulerOptions) {
    const { lanes } = options;
    this.#lanes = lanes.map((slots) => ({ slots, started: 0, turns: new Set() }));
    this.#weights = options.weights ?? lanes.map(() => 1);
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
    let entries = this.#edges;
    for (const claims of this.#claims.values()) entries += claims.entries;
    return entries;
  }

  /** Whether {@link accept} would take more of a client than is bounded. */
  isFull(client = NOBODY.client): boolean {
    const account = this.#accounts.get(client);
    if (account === undefined || account.waiting === 0) return this.entries >= 2 * this.#maxEntries;
    const { waiting: operations, waitingBytes: bytes, accesses } = account;
    return (
      reaches({ operations, bytes, accesses }, this.#maxWaitingOfOne) ||
      reaches(
        { operations: this.#waiting, bytes: this.#waitingBytes, accesses: this.#accesses },
        this.#maxWaiting,
      ) ||
      this.entries >= this.#maxEntries
    );
  }

  /** How many operations of a client in one lane are not over. */
  openOf(client: string, lane: number): number {
    return this.#accounts.get(client)?.lanes[lane]?.open ?? 0;
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
  ): Ticket<Work> {
    const account = this.#accountOf(share, now);
    const entry: Entry<Work> = {
      work,
      state: 'waiting',
      accesses: mergeAccesses(accesses),
      weight: accesses.length,
      lane,
      account,
      bytes: share.bytes,
      blockers: 0,
      blocked: new Set(),
      withdrawn: false,
    };
    const mustWaitFor = (other: Entry<Work>) => {
      if (other.blocked.has(entry)) return;
      other.blocked.add(entry);
      entry.blockers++;
      this.#edges++;
    };
    for (const { device, offset, size, write } of entry.accesses) {
      const claims = this.#claimsOf(device);
      claims[write ? 'write' : 'read'](entry, offset, offset + size, mustWaitFor);
    }
    this.#accesses += entry.weight;
    account.accesses += entry.weight;
    laneOf(entry).open++;
    this.#count(entry, 1);
    if (entry.blockers === 0) this.#becomeReady(entry, now);
    return entry;
  }

  /** The next operation that may start now, which is then started; undefined where none may. */
  startNext(now = 0): Ticket<Work> | undefined {
    for (const [index, lane] of this.#lanes.entries()) {
      for (const account of lane.turns) {
        const { ready, started } = account.lanes[index] as (typeof account.lanes)[number];
        if (lane.started >= lane.slots && started > 0) continue;
        const [entry] = ready;
        account.budget?.advance(now);
        if (entry === undefined || account.budget?.paid(index) === false) continue;
        this.#start(entry);
        return entry;
      }
    }
    return undefined;
  }

  /** Milliseconds until a client may spend more, and {@link startNext} is worth a try; or Infinity. */
  get wait(): number {
    let wait = Number.POSITIVE_INFINITY;
    for (const { waiting, budget } of this.#accounts.values()) {
      if (waiting > 0 && budget !== undefined) wait = Math.min(wait, budget.wait);
    }
    return wait;
  }

  /**
   * Counts bytes that move as they come, beside operations.
   *
   * @returns how long their client should wait before more, in milliseconds
   */
  charge(share: Share, now: number): number {
    return this.#accountOf(share, now).budget?.charge(share.bytes, now) ?? 0;
  }

  /**
   * Ends an operation: one that started and is over, or one that shall not start any more. Those
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
      (this.#lanes[entry.lane] as Lane<Work>).started--;
      laneOf(entry).started--;
      this.#started--;
    } else {
      entry.account.budget?.advance(now);
      this.#leaveTurn(entry);
      this.#count(entry, -1);
    }
    this.#leave(entry, now);
  }

  #start(entry: Entry<Work>): void {
    const lane = this.#lanes[entry.lane] as Lane<Work>;
    entry.account.budget?.spend(entry.lane);
    this.#leaveTurn(entry);
    // Behind all others whose turn it is.
    if (lane.turns.delete(entry.account)) lane.turns.add(entry.account);
    entry.state = 'started';
    lane.started++;
    laneOf(entry).started++;
    this.#started++;
    this.#count(entry, -1);
  }

  #leave(first: Entry<Work>, now: number): void {
    // A loop and not a recursion: thousands may have been withdrawn one behind the other.
    const leaving = [first];
    for (let entry = leaving.pop(); entry !== undefined; entry = leaving.pop()) {
      entry.state = 'released';
      this.#accesses -= entry.weight;
      entry.account.accesses -= entry.weight;
      for (const { device, offset, size } of entry.accesses) {
        const claims = this.#claimsOf(device);
        claims.release(entry, offset, offset + size);
      }
      this.#edges -= entry.blocked.size;
      for (const next of entry.blocked) {
        if (--next.blockers > 0) continue;
        if (next.withdrawn) {
          this.#count(next, -1);
          leaving.push(next);
        } else {
          this.#becomeReady(next, now);
        }
      }
      entry.blocked.clear();
    }
  }

  #becomeReady(entry: Entry<Work>, now: number): void {
    const { ready } = laneOf(entry);
    entry.state = 'ready';
    entry.account.budget?.advance(now);
    ready.add(entry);
    (this.#lanes[entry.lane] as Lane<Work>).turns.add(entry.account);
    if (ready.size === 1) entry.account.budget?.want(entry.lane, entry.bytes);
  }

  /** It is ready no more. */
  #leaveTurn(entry: Entry<Work>): void {
    const { ready } = laneOf(entry);
    ready.delete(entry);
    const [next] = ready;
    if (next === undefined) (this.#lanes[entry.lane] as Lane<Work>).turns.delete(entry.account);
    entry.account.budget?.want(entry.lane, next?.bytes ?? 0);
  }

  /** @param by 1 when it begins to wait, -1 when it ends */
  #count({ account, bytes }: Entry<Work>, by: 1 | -1): void {
    account.waiting += by;
    account.waitingBytes += by * bytes;
    this.#waiting += by;
    this.#waitingBytes += by * bytes;
  }

  #accountOf({ client, bytesPerSecond }: Share, now: number): Account<Work> {
    let account = this.#accounts.get(client);
    if (account === undefined) {
      const lanes = this.#lanes.map(() => ({ ready: new Set<Entry<Work>>(), started: 0, open: 0 }));
      account = { waiting: 0, waitingBytes: 0, accesses: 0, lanes, budget: undefined };
      this.#accounts.set(client, account);
    }
    if (account.budget?.bytesPerSecond !== bytesPerSecond) {
      account.budget =
        bytesPerSecond === undefined ? undefined : new Budget(bytesPerSecond, this.#weights, now);
      for (const [lane, { ready }] of account.lanes.entries()) {
        const [first] = ready;
        account.budget?.want(lane, first?.bytes ?? 0);
      }
    }
    return account;
  }

  #claimsOf(device: number): Claims<Entry<Work>> {
    let claims = this.#claims.get(device);
    if (claims === undefined) {
      claims = new Claims();
      this.#claims.set(device, claims);
    }
    return claims;
  }
}

function laneOf<Work>({ account, lane }: Entry<Work>) {
  return account.lanes[lane] as Account<Work>['lanes'][number];
}

function reaches(taken: WaitingLimits, limits: WaitingLimits): boolean {
  return (
    taken.operations >= limits.operations ||
    taken.bytes >= limits.bytes ||
    taken.accesses >= limits.accesses
  );
}

/** The same bytes in as few ranges as can be: segments often lie side by side. */
function mergeAccesses(accesses: readonly Access[]): Access[] {
  const sorted = [...accesses].sort(
    (a, b) => a.device - b.device || Number(a.write) - Number(b.write) || a.offset - b.offset,
  );
  const merged: Access[] = [];
  for (const access of sorted) {
    const last = merged.at(-1);
    if (
      last?.device === access.device &&
      last.write === access.write &&
      access.offset <= last.offset + last.size
    ) {
      last.size = Math.max(last.size, access.offset + access.size - last.offset);
    } else {
      merged.push({ ...access });
    }
  }
  return merged;
}
