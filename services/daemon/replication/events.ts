// SPDX-License-Identifier: Apache-2.0
import type { Replication } from './replication.ts';

export type EventKind = 'progress' | 'status';

/** Receives changes of a replication. */
export type Watcher = (kind: EventKind) => void;

/** Brings each change of a replication to those that watch it. */
export class ReplicationFeed {
  readonly #watchers = new Map<string, Set<Watcher>>();

  publish(kind: EventKind, { id }: Replication): void {
    // A copy, for a watcher may end its subscription when it hears of the end.
    for (const watcher of [...(this.#watchers.get(id) ?? [])]) watcher(kind);
  }

  /** @returns a function that ends it */
  watch(id: string, watcher: Watcher): () => void {
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(watcher));
    return () => {
      if (watchers.delete(watcher) && watchers.size === 0) this.#watchers.delete(id);
    };
  }
}
