// SPDX-License-Identifier: Apache-2.0
import { batch, type Signal, signal } from '@preact/signals-core';
import type { Transfer } from '../../client/types.ts';
import { addSample, type Sample } from '../model/rate.ts';

/** Of those that are over the latest ones are kept; the daemon has the rest. */
const MOST_ENDED = 500;

export type OnBytes = (engine: string, bytes: number) => void;

interface Entry {
  readonly transfer: Signal<Transfer>;
  samples: readonly Sample[];
  /** Whether the snapshot under way has named it. */
  confirmed: boolean;
}

/**
 * The transfers that this page knows: all that are not over, and some that have ended. A row listens
 * to its own transfer, a list to the ids in it, so that a change redraws no more than it must.
 */
export class TransferStore {
  readonly #entries = new Map<string, Entry>();
  readonly #onBytes: OnBytes;
  /** Those that are not over: running ones before those that wait, the oldest first. */
  readonly active = signal<readonly string[]>([]);
  /** Those that have ended while the page watched, the latest first. */
  readonly ended = signal<readonly string[]>([]);

  /** @param onBytes hears of each engine's progress */
  constructor(onBytes: OnBytes = () => {}) {
    this.#onBytes = onBytes;
  }

  get(id: string): Signal<Transfer> | undefined {
    return this.#entries.get(id)?.transfer;
  }

  samplesOf(id: string): readonly Sample[] {
    return this.#entries.get(id)?.samples ?? [];
  }

  /** All that are not over. */
  unfinished(): Transfer[] {
    return this.active.peek().flatMap((id) => this.get(id)?.peek() ?? []);
  }

  /** Changes in the order in which they came. @param now in milliseconds, by performance.now() */
  apply(changes: readonly Transfer[], now: number): void {
    batch(() => {
      let reordered = false;
      for (const change of changes) reordered = this.#applyOne(change, now) || reordered;
      if (reordered) this.#sort();
    });
  }

  /** What somebody asked for, which may be older than what is known by now. */
  applyAnswer(answer: Transfer, now: number): void {
    const known = this.get(answer.id)?.peek();
    const stale =
      known !== undefined &&
      (rank(answer) < rank(known) || answer.bytes_completed < known.bytes_completed);
    if (!stale) this.apply([answer], now);
  }

  /** A snapshot follows: what it does not name is over, or unknown to the daemon. */
  beginSnapshot(): void {
    for (const entry of this.#entries.values()) entry.confirmed = false;
  }

  /** Those that are not over, as far as is known, and that the snapshot has not named. */
  unconfirmed(): string[] {
    return this.active.peek().filter((id) => this.#entries.get(id)?.confirmed === false);
  }

  remove(id: string): void {
    if (this.#entries.delete(id)) this.#sort();
  }

  clear(): void {
    this.#entries.clear();
    this.#sort();
  }

  /** @returns whether the lists change */
  #applyOne(change: Transfer, now: number): boolean {
    const { id, bytes_completed: bytes, engine } = change;
    const entry = this.#entries.get(id);
    if (entry === undefined) {
      this.#entries.set(id, {
        transfer: signal(change),
        samples: [{ at: now, bytes }],
        confirmed: true,
      });
      // What runs already has copied before the page looked.
      if (isEnded(change)) this.#onBytes(engine, bytes);
      return true;
    }
    const before = entry.transfer.peek();
    // They never change, and come once.
    const segments = change.segments ?? before.segments;
    this.#onBytes(engine, Math.max(0, bytes - before.bytes_completed));
    entry.confirmed = true;
    entry.samples = addSample(entry.samples, { at: now, bytes });
    entry.transfer.value = { ...change, segments };
    return before.status !== change.status;
  }

  #sort(): void {
    const all = [...this.#entries.values()].map(({ transfer }) => transfer.peek());
    const active = all.filter((one) => !isEnded(one));
    const ended = all.filter(isEnded).sort((a, b) => (a.id < b.id ? 1 : -1));
    for (const { id } of ended.splice(MOST_ENDED)) this.#entries.delete(id);
    active.sort((a, b) => rank(b) - rank(a) || (a.id < b.id ? -1 : 1));
    setIfChanged(
      this.active,
      active.map(({ id }) => id),
    );
    setIfChanged(
      this.ended,
      ended.map(({ id }) => id),
    );
  }
}

function setIfChanged(list: Signal<readonly string[]>, next: readonly string[]): void {
  const before = list.peek();
  const same = before.length === next.length && before.every((id, index) => id === next[index]);
  if (!same) list.value = next;
}

function isEnded({ status }: Transfer): boolean {
  return status !== 'queued' && status !== 'running';
}

function rank({ status }: Transfer): number {
  return status === 'queued' ? 0 : status === 'running' ? 1 : 2;
}
