// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import type { Replication } from '../../client/types.ts';
import { Bandwidth } from '../model/bandwidth.ts';
import type { Transfer } from '../model/transfer.ts';
import { Intake } from './intake.ts';
import { paused } from './pause.ts';
import { WorkStore } from './store.ts';

const SECONDS = 300;

export const bandwidth = new Bandwidth(SECONDS, Date.now());

export const store = new WorkStore<Transfer>({
  onBytes({ engine }, bytes) {
    if (bytes > 0 && engine !== null) bandwidth.add(engine, bytes, Date.now());
  },
  // They never change, and come once.
  completed: (change, { segments }) => ({ ...change, segments: change.segments ?? segments }),
});

export const replications = new WorkStore<Replication>();

/** Rises when pages of ended transfers may have changed without an event. */
export const historyEpoch = signal(0);

const transferIntake = new Intake(store);
const replicationIntake = new Intake(replications);
paused.subscribe((stands) => {
  if (!stands) reloadHistory();
});

export function applyChanges(changes: readonly Transfer[]): void {
  transferIntake.apply(changes);
}

export function applyReplications(changes: readonly Replication[]): void {
  replicationIntake.apply(changes);
}

/** What another token has seen is nobody's business. */
export function clearTransfers(): void {
  transferIntake.clear();
  replicationIntake.clear();
  reloadHistory();
}

export function reloadHistory(): void {
  historyEpoch.value++;
}
