// SPDX-License-Identifier: Apache-2.0
import { Budget } from './budget.ts';
import { Line } from './line.ts';

/** Which client an operation belongs to, and what it moves. */
export interface Share {
  /** Any name; the operations of one name share what follows. */
  client: string;
  /** What it moves, in bytes. */
  bytes: number;
  /** What the client may move; undefined: as much as it can. */
  bytesPerSecond?: number | undefined;
}

/** What one client has in one lane. */
interface LaneAccount {
  readonly ready: Line<InLane>;
  /** Its place among those whose turn it is, if it has something ready. */
  turn: number | undefined;
  started: number;
  /** Accepted without having ended or been withdrawn. */
  open: number;
  /** Bytes that were queued since `ready` was last empty, and those of them that have left it. */
  queuedBytes: number;
  leftBytes: number;
}

/** What one client has taken. */
export interface Account {
  /** Accepted and not started. */
  waiting: number;
  waitingBytes: number;
  accesses: number;
  readonly lanes: LaneAccount[];
  budget: Budget | undefined;
}

/** What lanes have to know of an operation. */
export interface InLane {
  lane: number;
  readonly account: Account;
  readonly bytes: number;
  /** Its client's `queuedBytes` when it was queued, its own included. */
  queuedUpTo: number;
  /** Its place in its client's line while it is queued. */
  queuedAs: number;
}

/** Why an operation that may start has not: all slots of its lane are taken, or it is not paid for. */
export type Hindrance = { is: 'slot' } | { is: 'rate'; ms: number };

/**
 * Operations of one kind, which share a number of slots. Of each client's, first ready, first
 * started; among clients by turns.
 */
interface Lane {
  readonly slots: number;
  started: number;
  /** Those that have something ready, the next one first. */
  readonly turns: Line<Account>;
}

/** Whose turn it is among operations that may start: their slots, their clients, and what those may spend. */
export class Lanes<Operation extends InLane> {
  readonly #lanes: Lane[];
  readonly #weights: readonly number[];
  /** One for each name that ever came: those of tokens and users, which are few. */
  readonly #accounts = new Map<string, Account>();

  /** @param slots of each lane. @param weights by which a client with a limited rate shares it */
  constructor(slots: readonly number[], weights: readonly number[] = slots.map(() => 1)) {
    this.#lanes = slots.map((count) => ({ slots: count, started: 0, turns: new Line() }));
    this.#weights = weights;
  }

  /** The account of a client that has come before. */
  find(client: string): Account | undefined {
    return this.#accounts.get(client);
  }

  /** The account of a client, by the rate that it has now. */
  accountOf({ client, bytesPerSecond }: Share, now: number): Account {
    let account = this.#accounts.get(client);
    if (account === undefined) {
      const lanes = this.#lanes.map(() => ({
        ready: new Line<InLane>(),
        turn: undefined,
        ...{ started: 0, open: 0, queuedBytes: 0, leftBytes: 0 },
      }));
      account = { waiting: 0, waitingBytes: 0, accesses: 0, lanes, budget: undefined };
      this.#accounts.set(client, account);
    }
    this.#setRate(account, bytesPerSecond, now);
    return account;
  }

  /** Has the rates that clients have now act on what is queued. */
  setRates(rateOf: (client: string) => number | undefined, now: number): void {
    for (const [client, account] of this.#accounts) this.#setRate(account, rateOf(client), now);
  }

  /** Milliseconds until a client may spend more; or Infinity. */
  get wait(): number {
    let wait = Number.POSITIVE_INFINITY;
    for (const { waiting, budget } of this.#accounts.values()) {
      if (waiting > 0 && budget !== undefined) wait = Math.min(wait, budget.wait);
    }
    return wait;
  }

  /** An operation may start when its turn comes. */
  queue(operation: Operation, now: number): void {
    const { account, lane, bytes } = operation;
    const own = laneOf(operation);
    account.budget?.advance(now);
    operation.queuedAs = own.ready.add(operation);
    own.queuedBytes += bytes;
    operation.queuedUpTo = own.queuedBytes;
    own.turn ??= this.#lane(operation).turns.add(account);
    if (own.ready.size === 1) account.budget?.want(lane, bytes);
  }

  /** Why an operation that is queued has not started. */
  hindrance(operation: Operation, now: number): Hindrance {
    const { account, lane, bytes } = operation;
    const { budget } = account;
    const { started, leftBytes } = laneOf(operation);
    const { slots, started: startedOfAll } = this.#lane(operation);
    budget?.advance(now);
    const slotsTaken = startedOfAll >= slots && started > 0;
    if (budget === undefined || slotsTaken || budget.paid(lane)) return { is: 'slot' };
    // What is in front of it is paid for first.
    const unpaid = Math.max(bytes, operation.queuedUpTo - leftBytes);
    return { is: 'rate', ms: budget.msFor(lane, unpaid) };
  }

  /** Starts the operation whose turn it is; undefined if none may start. */
  startNext(now: number): Operation | undefined {
    for (let index = 0; index < this.#lanes.length; index++) {
      const lane = this.#lanes[index] as Lane;
      if (lane.turns.size === 0) continue;
      for (const account of lane.turns) {
        const { ready, started } = account.lanes[index] as (typeof account.lanes)[number];
        if (lane.started >= lane.slots && started > 0) continue;
        const operation = this.#firstOf(ready);
        account.budget?.advance(now);
        if (operation === undefined || account.budget?.paid(index) === false) continue;
        this.#start(operation);
        return operation;
      }
    }
    return undefined;
  }

  /** One that was queued shall not start any more. */
  withdraw(operation: Operation, now: number): void {
    operation.account.budget?.advance(now);
    this.#leaveTurn(operation);
  }

  /** One that was started has ended. */
  end(operation: Operation): void {
    this.#lane(operation).started--;
    laneOf(operation).started--;
  }

  #setRate(account: Account, bytesPerSecond: number | undefined, now: number): void {
    const { budget } = account;
    if (budget?.bytesPerSecond === bytesPerSecond) return;
    if (bytesPerSecond === undefined) {
      account.budget = undefined;
    } else if (budget !== undefined) {
      budget.setRate(bytesPerSecond, now);
    } else {
      account.budget = new Budget(bytesPerSecond, this.#weights, now);
      for (const [lane, { ready }] of account.lanes.entries()) {
        account.budget.want(lane, this.#firstOf(ready)?.bytes ?? 0);
      }
    }
  }

  #start(operation: Operation): void {
    const { account } = operation;
    const lane = this.#lane(operation);
    account.budget?.spend(operation.lane);
    this.#leaveTurn(operation);
    // Behind all others whose turn it is.
    const own = laneOf(operation);
    if (own.turn !== undefined && lane.turns.size > 1) {
      lane.turns.leave(own.turn);
      own.turn = lane.turns.add(account);
    }
    lane.started++;
    own.started++;
  }

  /** It is ready no more. */
  #leaveTurn(operation: Operation): void {
    const { account, lane } = operation;
    const own = laneOf(operation);
    own.ready.leave(operation.queuedAs);
    own.leftBytes += operation.bytes;
    const next = this.#firstOf(own.ready);
    if (next === undefined) {
      if (own.turn !== undefined) this.#lane(operation).turns.leave(own.turn);
      own.turn = undefined;
      own.queuedBytes = 0;
      own.leftBytes = 0;
    }
    account.budget?.want(lane, next?.bytes ?? 0);
  }

  #firstOf({ first }: Line<InLane>): Operation | undefined {
    return first as Operation | undefined;
  }

  #lane({ lane }: Operation): Lane {
    return this.#lanes[lane] as Lane;
  }
}

/** What its client has in an operation's lane. */
export function laneOf({ account, lane }: InLane) {
  return account.lanes[lane] as Account['lanes'][number];
}
