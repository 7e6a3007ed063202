// SPDX-License-Identifier: Apache-2.0
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

interface Entry<Work> extends Ticket<Work> {
  state: Ticket<Work>['state'];
  readonly accesses: readonly Access[];
  /** How many accesses it was accepted with, before they were merged. */
  readonly weight: number;
  readonly lane: Lane<Work>;
  /** How many earlier operations it still waits for. */
  blockers: number;
  readonly blocked: Set<Entry<Work>>;
  /** Given up before it started; it still keeps its place, so that those behind it wait for those before it. */
  withdrawn: boolean;
}

/** Operations of one kind, which share a number of slots: first ready, first started. */
interface Lane<Work> {
  readonly slots: number;
  started: number;
  readonly ready: Set<Entry<Work>>;
}

export interface SchedulerOptions {
  /** For each lane, how many of its operations may run at a time. */
  lanes: readonly number[];
  /** How many operations may wait. */
  maxWaiting: number;
  /** How much the order may take to remember: claimed fragments, their readers, who waits for whom. */
  maxEntries: number;
  /** How many accesses the operations that are not released may have together. */
  maxAccesses: number;
}

/**
 * The order of operations. Those whose bytes touch, where at least one writes, start one after the
 * other as they were accepted; others run side by side, as many as their lane has slots. Pure: it
 * starts nothing itself and knows no clock.
 *
 * Nothing can deadlock: an operation waits only for earlier ones, and holds its slot only while it
 * runs.
 */
export class Scheduler<Work> {
  readonly #lanes: Lane<Work>[];
  readonly #maxWaiting: number;
  readonly #maxEntries: number;
  readonly #maxAccesses: number;
  readonly #claims = new Map<number, Claims<Entry<Work>>>();
  #edges = 0;
  #accesses = 0;
  #waiting = 0;
  #started = 0;

  constructor({ lanes, maxWaiting, maxEntries, maxAccesses }: SchedulerOptions) {
    this.#lanes = lanes.map((slots) => ({ slots, started: 0, ready: new Set() }));
    this.#maxWaiting = maxWaiting;
    this.#maxEntries = maxEntries;
    this.#maxAccesses = maxAccesses;
  }

  /** Operations that were accepted and have not started. */
  get waiting(): number {
    return this.#waiting;
  }

  get started(): number {
    return this.#started;
  }

  /** Whether {@link accept} would take more than is bounded. */
  get full(): boolean {
    return (
      this.#waiting >= this.#maxWaiting ||
      this.#accesses >= this.#maxAccesses ||
      this.#entries() >= this.#maxEntries
    );
  }

  /** Gives an operation its place behind all that were accepted before. */
  accept(work: Work, accesses: readonly Access[], lane: number): Ticket<Work> {
    const entry: Entry<Work> = {
      work,
      state: 'waiting',
      accesses: mergeAccesses(accesses),
      weight: accesses.length,
      lane: this.#lanes[lane] as Lane<Work>,
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
    this.#waiting++;
    if (entry.blockers === 0) this.#becomeReady(entry);
    return entry;
  }

  /** The next operation that may start now, which is then started; undefined where none may. */
  startNext(): Ticket<Work> | undefined {
    for (const lane of this.#lanes) {
      if (lane.started >= lane.slots) continue;
      const [entry] = lane.ready;
      if (entry === undefined) continue;
      lane.ready.delete(entry);
      entry.state = 'started';
      lane.started++;
      this.#started++;
      this.#waiting--;
      return entry;
    }
    return undefined;
  }

  /**
   * Ends an operation: one that started and is over, or one that shall not start any more. Those
   * that waited for it become ready, if they wait for no other.
   */
  release(ticket: Ticket<Work>): void {
    const entry = ticket as Entry<Work>;
    if (entry.state === 'waiting') {
      entry.withdrawn = true;
      return;
    }
    if (entry.state === 'started') {
      entry.lane.started--;
      this.#started--;
      this.#leave(entry);
    } else if (entry.state === 'ready') {
      entry.lane.ready.delete(entry);
      this.#waiting--;
      this.#leave(entry);
    }
  }

  #leave(first: Entry<Work>): void {
    // A loop and not a recursion: thousands may have been withdrawn one behind the other.
    const leaving = [first];
    for (let entry = leaving.pop(); entry !== undefined; entry = leaving.pop()) {
      entry.state = 'released';
      this.#accesses -= entry.weight;
      for (const { device, offset, size } of entry.accesses) {
        const claims = this.#claimsOf(device);
        claims.release(entry, offset, offset + size);
      }
      this.#edges -= entry.blocked.size;
      for (const next of entry.blocked) {
        if (--next.blockers > 0) continue;
        if (next.withdrawn) {
          this.#waiting--;
          leaving.push(next);
        } else {
          this.#becomeReady(next);
        }
      }
      entry.blocked.clear();
    }
  }

  #becomeReady(entry: Entry<Work>): void {
    entry.state = 'ready';
    entry.lane.ready.add(entry);
  }

  #claimsOf(device: number): Claims<Entry<Work>> {
    let claims = this.#claims.get(device);
    if (claims === undefined) {
      claims = new Claims();
      this.#claims.set(device, claims);
    }
    return claims;
  }

  #entries(): number {
    let entries = this.#edges;
    for (const claims of this.#claims.values()) entries += claims.entries;
    return entries;
  }
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
