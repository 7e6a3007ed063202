// SPDX-License-Identifier: Apache-2.0

import { Problem } from '../../http/problems/problem.ts';
import type { Device, Inventory } from '../devices/device.ts';
import { isLegacyIdentity } from '../devices/identity.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { ElapsedClock, Reading } from '../journal/elapsed.ts';
import { KNOWS_CHANGES } from '../journal/format.ts';
import type { OpenedJournal } from '../journal/open.ts';
import { planTransfer } from './plan.ts';
import {
  requestOf,
  type Shared,
  type TransferRecord,
  transferOf,
  transferWithPlan,
} from './record.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

/** How often a transfer runs again that was under way each time that a daemon died. */
const MAX_RERUNS = 2;

/** What tells whether a transfer that has not finished may run again from the start. */
export interface CrashContext {
  /** It may have begun to copy. */
  begun: boolean;
  /** See {@link touchesItself}. */
  touchesItself: boolean;
  /** How many daemons ran it again, and died. */
  reruns: number;
  /** Work that the crash made forgotten had begun to write its source. */
  sourceUnsettled: boolean;
  /** The host restarted since, and its source may not have survived that. */
  sourceLost: boolean;
  /** Why the journal may be older than what happened to the bytes. */
  doubt: string | undefined;
}

/**
 * Whether a transfer that did not end may run again from the start, and give what one run would
 * have given. It may if its source is as it was, which takes four things: it has not written there
 * itself; nor has anything accepted later; what was accepted before had written there in whole; and
 * the bytes are still there. The second always holds, unless the journal is in doubt: a transfer that
 * is in the journal keeps its place in the order until its end is there too, and so nothing behind it
 * that touches its bytes, upload or transfer, has begun. The third holds for what is in the journal,
 * which runs again first; uploads and awaited transfers are not in it: once one of those begins to write the
 * source, a row says so, until a `begun` row says that its turn has come.
 *
 * @returns why it may not
 */
export function reasonNotToRerun(context: CrashContext): string | undefined {
  const { begun, reruns, sourceUnsettled, sourceLost, doubt } = context;
  if (doubt !== undefined) return `${doubt}, and later work may have touched the same bytes`;
  if (begun && context.touchesItself) return 'one of its segments writes where another one reads';
  if (!begun && sourceUnsettled) {
    return 'it waited for an upload or a transfer that had begun to write its source, and was lost';
  }
  if (sourceLost) return 'the host restarted, and its source may not have survived that';
  if (reruns >= MAX_RERUNS) {
    return `the daemon died each of the last ${reruns + 1} times that it ran`;
  }
  return undefined;
}

/** Whether a segment's source lies in part where the transfer itself writes. */
export function touchesItself({ operation, source, destination, segments }: TransferPlan): boolean {
  if (operation !== 'copy' || source.name !== destination.name) return false;
  const written = Array.from(segments, ({ dst_offset, size }) => {
    return { start: dst_offset, end: dst_offset + size };
  }).sort((a, b) => b.start - a.start);
  const read = Array.from(segments, ({ src_offset, size }) => {
    return { start: src_offset, end: src_offset + size };
  }).sort((a, b) => a.end - b.end);
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

/**
 * What becomes of a transfer after a restart. `foreign`: keys of its rows that this version does not
 * understand, and leaves as they are.
 */
export type Recovered =
  | { kind: 'finished'; transfer: Transfer; foreign: readonly string[] }
  | { kind: 'again'; transfer: Transfer; reruns: number; openDependencies: readonly string[] }
  | { kind: 'interrupted'; transfer: Transfer; error: Problem; foreign: readonly string[] };

export interface RecoveryOptions {
  inventory: Inventory;
  chooser: EngineChooser;
  doubt: string | undefined;
  /** See {@link OpenedJournal.writer}. */
  writer: OpenedJournal['writer'];
  clock: ElapsedClock;
  /** What the host says now. */
  host: Pick<Reading, 'boot_id' | 'uptime_ms' | 'wall_ms'>;
}

/** Decides what becomes of a transfer, by what the journal and today's devices say. */
export function recover(record: TransferRecord, options: RecoveryOptions): Recovered {
  const { inventory, chooser, doubt, writer, clock, host } = options;
  const { accepted, begun, unsettled, foreign, change, dependencies } = record;
  const transfer = transferOf(record, clock);
  if (transfer.finished) return { kind: 'finished', transfer, foreign };
  const reruns = begun?.reruns ?? 0;
  const reason =
    (foreign.length > 0 ? 'a later version of the daemon kept it' : undefined) ??
    (writer < KNOWS_CHANGES && (change !== undefined || dependencies.ids.length > 0)
      ? 'an earlier version of the daemon ran since, which cannot run it and had called it interrupted'
      : undefined) ??
    reasonNotToRerun({
      ...{ begun: begun !== undefined, reruns, doubt },
      touchesItself: touchesItself(transfer.plan),
      sourceUnsettled: unsettled,
      sourceLost: hasRestarted(accepted, host) && accepted.source_persistent !== true,
    }) ??
    whyDeviceIsAnother(transfer.plan, inventory);
  if (reason !== undefined) return interrupted(transfer, reason, foreign);
  try {
    const plan = planTransfer(requestOf(record), inventory, chooser);
    const again = transferWithPlan(record, plan, clock);
    return { kind: 'again', transfer: again, reruns, openDependencies: record.dependencies.open };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return interrupted(transfer, error.message, foreign);
  }
}

/** What becomes of a transfer that has an end, be it one that cannot be read. */
export function recoverPast(
  record: TransferRecord,
  clock: ElapsedClock,
  shared: Shared,
): Recovered {
  const transfer = transferOf(record, clock, shared);
  const { foreign } = record;
  if (transfer.finished) return { kind: 'finished', transfer, foreign };
  return interrupted(transfer, 'what the journal says of its end cannot be read', foreign);
}

/** Whether the host has restarted since. Rows of older versions have only the wall clock's time. */
function hasRestarted(
  { boot_id, accepted_ms }: TransferRecord['accepted'],
  host: RecoveryOptions['host'],
): boolean {
  if (boot_id !== undefined) return boot_id !== host.boot_id;
  return accepted_ms < host.wall_ms - host.uptime_ms;
}

function interrupted(transfer: Transfer, reason: string, foreign: readonly string[]): Recovered {
  return { kind: 'interrupted', transfer, error: rerunProblem(reason), foreign };
}

/** @param reason why a transfer of an earlier daemon is not run again */
export function rerunProblem(reason: string): Problem {
  const detail =
    `The daemon ended before the transfer did, and it was not run again: ${reason.replace(/\.$/, '')}. ` +
    'What it copied stays copied; send it again if that is right.';
  return new Problem('interrupted', detail);
}

function whyDeviceIsAnother(
  { source, destination }: TransferPlan,
  inventory: Inventory,
): string | undefined {
  return whyAnother(source, inventory) ?? whyAnother(destination, inventory);
}

/** Why work that knew a device as it was must not go on with the one of that name now. */
export function whyAnother(
  { name, identity, kind, size }: Device,
  inventory: Inventory,
): string | undefined {
  const now = inventory.find(name);
  if (now === undefined) {
    return inventory.missing.has(name)
      ? `${name} was not there when the daemon started`
      : `${name} is no device of this daemon any more`;
  }
  if (isLegacyIdentity(kind, identity)) {
    return `an older daemon kept it, without what would tell ${name} from another device`;
  }
  if (now.kind !== kind || now.identity !== identity) {
    return `${name} is another device than it was`;
  }
  return now.size < size ? `${name} has ${now.size} bytes now, no longer ${size}` : undefined;
}
