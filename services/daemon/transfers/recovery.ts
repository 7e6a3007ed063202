// SPDX-License-Identifier: Apache-2.0
import type { Inventory } from '../devices/device.ts';
import { isLegacyIdentity } from '../devices/identity.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import { Problem } from '../problems/problem.ts';
import { planTransfer } from './plan.ts';
import { requestOf, type TransferRecord, transferAgain, transferOf } from './record.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

/** Why a transfer must not run again from the start, though it is not over. */
export interface History {
  /** It may have begun to copy. */
  begun: boolean;
  /** See {@link touchesItself}. */
  touchesItself: boolean;
  /** Why the journal may be older than what happened to the bytes. */
  doubt: string | undefined;
}

/**
 * Whether a transfer that did not end may run again from the start, and give what one run would
 * have given. It may where its source is as it was, which takes two things: it has not written
 * there itself; nor has anything accepted later touched its bytes. The second always holds, unless
 * the journal is in doubt: a transfer that is in the journal keeps its place in the order until its
 * end is there too, and so nothing behind it that touches its bytes, upload or transfer, has begun.
 *
 * @returns why it may not
 */
export function whyNotAgain({ begun, touchesItself, doubt }: History): string | undefined {
  if (doubt !== undefined) return `${doubt}, and later work may have touched the same bytes`;
  if (begun && touchesItself) return 'one of its segments writes where another one reads';
  return undefined;
}

/** Whether a segment's source lies in part where the transfer itself writes. */
export function touchesItself({ operation, source, destination, segments }: TransferPlan): boolean {
  if (operation !== 'copy' || source.name !== destination.name) return false;
  const written = segments
    .map(({ dst_offset, size }) => ({ start: dst_offset, end: dst_offset + size }))
    .sort((a, b) => b.start - a.start);
  const read = segments
    .map(({ src_offset, size }) => ({ start: src_offset, end: src_offset + size }))
    .sort((a, b) => a.end - b.end);
  // How far any destination reaches that begins before the source at hand ends.
  let reach = 0;
  return read.some(({ start, end }) => {
    for (let next = written.at(-1); next !== undefined && next.start < end; next = written.at(-1)) {
      reach = Math.max(reach, next.end);
      written.pop();
    }
    return reach > start;
  });
}

/** What becomes of a transfer after a restart. */
export type Recovered =
  | { kind: 'over'; transfer: Transfer }
  | { kind: 'again'; transfer: Transfer }
  | { kind: 'interrupted'; transfer: Transfer; error: Problem };

export interface RecoveryOptions {
  inventory: Inventory;
  chooser: EngineChooser;
  doubt: string | undefined;
  clock: ElapsedClock;
}

/** Decides what becomes of a transfer, by what the journal and today's devices say. */
export function recover(record: TransferRecord, options: RecoveryOptions): Recovered {
  const { inventory, chooser, doubt, clock } = options;
  const transfer = transferOf(record, clock);
  if (transfer.over) return { kind: 'over', transfer };
  const history = { begun: record.begun, touchesItself: touchesItself(transfer.plan), doubt };
  const reason =
    (record.spoilt ? 'what the journal says of its end cannot be read' : undefined) ??
    whyNotAgain(history) ??
    whyDeviceIsAnother(transfer.plan, inventory);
  if (reason !== undefined) return interrupted(transfer, reason);
  try {
    const plan = planTransfer(requestOf(record), inventory, chooser);
    return { kind: 'again', transfer: transferAgain(record, plan, clock) };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return interrupted(transfer, error.message);
  }
}

function interrupted(transfer: Transfer, reason: string): Recovered {
  const detail = `The daemon ended before the transfer did, and it was not run again: ${reason.replace(/\.$/, '')}. What it copied stays copied; send it again if that is right.`;
  return { kind: 'interrupted', transfer, error: new Problem('interrupted', detail) };
}

function whyDeviceIsAnother(plan: TransferPlan, inventory: Inventory): string | undefined {
  for (const { name, identity, kind, size } of [plan.source, plan.destination]) {
    const now = inventory.find(name);
    if (now === undefined) return `${name} is no device of this daemon any more`;
    if (isLegacyIdentity(kind, identity)) {
      return `an older daemon kept it, without what would tell ${name} from another device`;
    }
    if (now.kind !== kind || now.identity !== identity) {
      return `${name} is another device than it was`;
    }
    if (now.size < size) return `${name} has ${now.size} bytes now, no longer ${size}`;
  }
  return undefined;
}
