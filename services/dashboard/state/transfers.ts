// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import type { Transfer } from '../../client/types.ts';
import { Bandwidth } from '../model/bandwidth.ts';
import { TransferStore } from './store.ts';

const SECONDS = 300;
/** How many that the page does not know are kept while it pauses. The history has them afterwards. */
const MOST_HELD = 5000;

export const bandwidth = new Bandwidth(SECONDS, Date.now());

export const store = new TransferStore((engine, bytes) => {
  if (bytes > 0) bandwidth.add(engine, bytes, Date.now());
});

/** Whether what is shown stands still. */
export const paused = signal(false);

/** Rises when pages of ended transfers may have changed without an event. */
export const historyEpoch = signal(0);

/** The latest of each that came while the page pauses. */
const held = new Map<string, Transfer>();

export function applyChanges(changes: readonly Transfer[]): void {
  if (!paused.value) {
    store.apply(changes, performance.now());
    return;
  }
  for (const change of changes) {
    const { id } = change;
    if (held.size < MOST_HELD || held.has(id) || store.get(id)) held.set(id, change);
  }
}

export function togglePause(): void {
  paused.value = !paused.value;
  if (paused.value) return;
  store.apply([...held.values()], performance.now());
  held.clear();
  reloadHistory();
}

/** What another token has seen is nobody's business. */
export function clearTransfers(): void {
  held.clear();
  store.clear();
  reloadHistory();
}

export function reloadHistory(): void {
  historyEpoch.value++;
}
