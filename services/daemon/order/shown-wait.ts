// SPDX-License-Identifier: Apache-2.0
import type { Wait } from './scheduler.ts';
import type { Work } from './work.ts';

/** Why work has not started, as its client sees it. */
export type ShownWait =
  /** For these transfers of the client, and perhaps for work of others. */
  | { reason: 'order'; transfers: string[] }
  | { reason: 'upload' }
  | { reason: 'slot' }
  | { reason: 'rate'; seconds: number };

/** How many transfers {@link ShownWait} names. */
const MAX_NAMED = 10;

export function shownWait(wait: Wait<Work>, client: string): ShownWait {
  if (wait.is === 'order') return shownOrder(wait.others, client);
  return wait.is === 'rate'
    ? { reason: 'rate', seconds: Math.ceil(wait.ms / 1000) }
    : { reason: 'slot' };
}

/** A client sees the ids of its own transfers, and of no other work. */
function shownOrder(others: readonly Work[], client: string): ShownWait {
  if (others.length > 0 && others.every(({ kind }) => kind === 'upload')) {
    return { reason: 'upload' };
  }
  const own = others
    .filter((other) => other.kind === 'transfer' && other.client === client)
    .flatMap(({ id }) => id ?? []);
  return { reason: 'order', transfers: own.slice(0, MAX_NAMED) };
}
