// SPDX-License-Identifier: Apache-2.0
import type { Device } from '../devices/device.ts';
import type { UnflushedDevices } from '../devices/unflushed.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { TransferPlan } from './transfer.ts';

/** What is known of a transfer's source when it is accepted. */
export interface SourceState {
  bootId: string;
  /** Its bytes would outlive a power failure. */
  persistent: boolean;
  /** Work that a crash forgets is still to write it. */
  unsettled: boolean;
}

/** @param unsettled whether work that a crash forgets is still to write its source */
export function sourceStateOf(
  plan: TransferPlan,
  unsettled: boolean,
  { clock, unflushed }: { clock: ElapsedClock; unflushed: UnflushedDevices },
): SourceState {
  const persistent = readDevices(plan).every((device) => unflushed.isPersistent(device));
  return { bootId: clock.bootId, persistent, unsettled };
}

/** The devices whose bytes decide what comes of it. */
function readDevices({ operation, source, destination }: TransferPlan): Device[] {
  if (operation === 'fill') return [];
  return operation === 'compare' ? [source, destination] : [source];
}
