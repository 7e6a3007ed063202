// SPDX-License-Identifier: Apache-2.0
import { batch, type Signal, signal } from '@preact/signals-core';
import { addSample, type Sample } from '../model/rate.ts';
import type { TransferStatus } from '../model/transfer.ts';

/** Of those that are over the latest ones are kept; the daemon has the rest. */
const MOST_ENDED = 500;

/** A transfer, or a replication. */
export interface Work {
  readonly id: string;
  readonly status: TransferStatus;
  readonly bytes_completed: number;
}

export interface StoreOptions<W> {
  /** Hears of progress. */
  onBytes?(work: W, bytes: number): void;
  /** A change, with what it leaves out because it came before. */
  completed?(change: W, before: W): W;
}

interface Entry<W> {
  readonly work: Signal<W>;
  samples: readonly Sample[];
  /** Whether the snapshot under way has named it. */
  confirmed: boolean;
}

/**
 * The transfers, or the replications, that this page knows: all that are not over, and some that have
 * ended. A row listens to its own, a list to the ids in it, so that a change redraws no more than it
 * must.
 */
export class WorkStore<W extends Work> {
  readonly #entries = new Map<string, Entry<W>>();
  readonly #options: StoreOptions<W>;
  /** Those that are not over: running ones before those that wait, the oldest first. */
  readonly active = signal<readonly string[]>([]);
  /** Those that have ended while the page watched, the latest first. */
  readonly ended = signal<readonly string[]>([]);

  constructor(options: StoreOptions<W> = {}) {
    this.#options = options;
  }

  get(id: string): Signal<W> | undefined {
    return this.#entries.get(id)?.work;
  }

  samplesOf(id: string): readonly Sample[] {
    return this.#entries.get(id)?.samples ?? [];
  }

  /** All that are not over. */
  unfinished(): W[] {
    return this.active.peek().flatMap((id) => this.get(id)?.peek() ?? []);
  }

  /** Changes in the order in which they came. @param now in milliseconds, by performance.now() */
  apply(changes: readonly W[], now: number): void {
    batch(() => {
      let reordered = false;
      for (const change of changes) reordered = this.#applyOne(change, now) || reordered;
      if (reordered) this.#sort();
    });
  }

  /** What somebody asked for, which may be older than what is known by now. */
  applyAnswer(answer: W, now: number): void {
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
  #applyOne(change: W, now: number): boolean {
    const { id, bytes_completed: bytes } = change;
    const { onBytes, completed } = this.#options;
    const entry = this.#entries.get(id);
    if (entry === undefined) {
      this.#entries.set(id, {
        work: signal(change),
        samples: [{ at: now, bytes }],
        confirmed: true,
      });
      // What runs already has copied before the page looked.
      if (isEnded(change)) onBytes?.(change, bytes);
      return true;
    }
    const before = entry.work.peek();
    onBytes?.(change, Math.max(0, bytes - before.bytes_completed));
    entry.confirmed = true;
    entry.samples = addSample(entry.samples, { at: now, bytes });
    entry.work.value = completed?.(change, before) ?? change;
    return before.status !== change.status;
  }

  #sort(): void {
    const all = [...this.#entries.values()].map(({ work }) => work.peek());
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

function isEnded(work: Work): boolean {
  return rank(work) === 2;
}

/** Those that run come first. */
function rank({ status }: Work): 0 | 1 | 2 {
  if (status === 'running') return 1;
  return status === 'queued' || status === 'accepted' ? 0 : 2;
}
