// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { formatRoute, parseRoute, type Route, type View } from '../model/route.ts';

export const route = signal<Route>(parseRoute(location.hash));

addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});

/** Changes the query of the address, without a step in the history. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const entries = Object.entries({ ...route.value.query, ...changes });
  const query = Object.fromEntries(
    entries.filter((entry): entry is [string, string] => Boolean(entry[1])),
  );
  const next = { ...route.value, query };
  history.replaceState(null, '', formatRoute(next));
  route.value = next;
}

export function goTo(to: { view: View; id?: string; query?: Record<string, string> }): void {
  location.hash = formatRoute(to);
}
