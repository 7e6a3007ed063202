// SPDX-License-Identifier: Apache-2.0
import type { Work, WorkStore } from '../state/store.ts';

/** A row: of what the page follows, by its id, or of something from the daemon's history. */
export interface Item<E> {
  id: string;
  ended?: E;
}

/** What goes on, the oldest first, then what is over, the latest first. */
export function mergeLists<W extends Work, E extends { id: string }>(
  store: WorkStore<W>,
  history: readonly E[],
  passes: (work: W) => boolean,
): Item<E>[] {
  const known = (ids: readonly string[]) =>
    ids.filter((id) => {
      // Whether it passes changes with its status alone, and then the list changes too.
      const work = store.get(id)?.peek();
      return work !== undefined && passes(work);
    });
  const active = known(store.active.value);
  const ended = known(store.ended.value);
  const followed = new Set([...store.active.value, ...store.ended.value]);
  const rest = history
    .filter(({ id }) => !followed.has(id))
    .map((each): Item<E> => ({ id: each.id, ended: each }));
  const over = [...ended.map((id): Item<E> => ({ id })), ...rest];
  over.sort((a, b) => (a.id < b.id ? 1 : -1));
  return [...active.map((id): Item<E> => ({ id })), ...over];
}
