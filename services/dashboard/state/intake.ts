// SPDX-License-Identifier: Apache-2.0
import { paused } from './pause.ts';
import type { Work, WorkStore } from './store.ts';

/** How many that the page does not know are kept while it pauses. The history has them afterwards. */
const MOST_HELD = 5000;

/** Brings changes into a store, once the page does not pause. */
export class Intake<W extends Work> {
  readonly #store: WorkStore<W>;
  /** The latest of each that came while the page paused. */
  readonly #held = new Map<string, W>();

  constructor(store: WorkStore<W>) {
    this.#store = store;
    paused.subscribe((stands) => {
      if (!stands) this.#release();
    });
  }

  apply(changes: readonly W[]): void {
    if (!paused.value) {
      this.#store.apply(changes, performance.now());
      return;
    }
    for (const change of changes) {
      const { id } = change;
      const known = this.#held.has(id) || this.#store.get(id) !== undefined;
      if (known || this.#held.size < MOST_HELD) this.#held.set(id, change);
    }
  }

  clear(): void {
    this.#held.clear();
    this.#store.clear();
  }

  #release(): void {
    this.#store.apply([...this.#held.values()], performance.now());
    this.#held.clear();
  }
}
