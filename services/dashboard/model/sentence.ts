// SPDX-License-Identifier: Apache-2.0
import type { Replication } from '../../client/types.ts';
import {
  formatBytes,
  formatCount,
  formatNanoseconds,
  formatSeconds,
  shortOffset,
} from './format.ts';
import type { Transfer, TransferStatus } from './transfer.ts';

type Sentenced = Pick<
  Transfer,
  'operation' | 'device_name' | 'dst_device_name' | 'src_offset' | 'dst_offset' | 'size'
> & { status: Transfer['status']; segments?: Transfer['segments'] | undefined };

/** By operation: to be done, being done, done. */
const VERBS = {
  copy: ['Copy', 'Copying', 'Copied'],
  fill: ['Fill', 'Filling', 'Filled'],
  compare: ['Compare', 'Comparing', 'Compared'],
} as const;

/** What a transfer does, did or is to do, in a sentence. */
export function sentenceOf(transfer: Sentenced): string {
  const { operation, device_name: source, dst_device_name: destination } = transfer;
  const pieces = transfer.segments ?? [];
  const bytes =
    formatBytes(transfer.size) +
    (pieces.length > 1 ? ` in ${formatCount(pieces.length, 'piece')}` : '');
  const from = place(source, transfer.src_offset);
  const to = place(destination, transfer.dst_offset);
  const verb = VERBS[operation][tense(transfer.status)];
  switch (operation) {
    case 'copy':
      return `${verb} ${bytes} from ${from} to ${to}`;
    case 'fill':
      return `${verb} ${bytes} of ${to}`;
    case 'compare':
      return `${verb} ${bytes} of ${from} with ${to}`;
  }
}

function tense(status: TransferStatus): 0 | 1 | 2 {
  if (status === 'running') return 1;
  return status === 'succeeded' ? 2 : 0;
}

function place(device: string, offset: number | null): string {
  return offset === null ? device : `${device} at ${shortOffset(offset)}`;
}

/** What a replication does, did or is to do. */
export function replicationSentence(replication: Replication): string {
  const { peer, src_device_name: source, dst_device_name: destination, mode } = replication;
  const verb = ['Replicate', 'Replicating', 'Replicated'][tense(replication.status)];
  const all = mode === 'full' ? ', all of it,' : '';
  const from = `${peer}:${place(source, replication.src_offset)}`;
  const to = place(destination, replication.dst_offset);
  return `${verb} ${formatBytes(replication.size)}${all} from ${from} to ${to}`;
}

/** How long it will take, if that is known. */
export function leftText(seconds: number | undefined): string | undefined {
  return seconds === undefined ? undefined : `${formatSeconds(seconds)} left`;
}

type Ran = Pick<Transfer, 'started_at' | 'finished_at'>;

/** How long it ran; undefined if it has not ended, or never started. */
export function takenBy({ started_at: started, finished_at: finished }: Ran): string | undefined {
  if (started === null || finished === null) return undefined;
  const ms = Date.parse(finished) - Date.parse(started);
  return ms < 1 ? '< 1 ms' : formatNanoseconds(ms * 1e6);
}

/** What a transfer or a replication waits for; undefined if it waits for nothing. */
export function waitsFor({
  waiting_for: waiting,
}: Pick<Transfer, 'waiting_for'> | Pick<Replication, 'waiting_for'>): string | undefined {
  if (waiting === null) return undefined;
  const { reason, transfers = [], seconds } = waiting;
  const why = 'why' in waiting && waiting.why ? `: ${waiting.why}` : '';
  switch (reason) {
    case 'host':
      return `waits for its host${why}`;
    case 'dependencies':
      return 'waits for the transfers that it depends on';
    case 'peer':
      return `waits for its peer${why}`;
    case 'order':
      return transfers.length === 1
        ? 'waits for an earlier transfer that touches the same bytes'
        : 'waits for earlier transfers that touch the same bytes';
    case 'upload':
      return 'waits for an upload into the same bytes';
    case 'slot':
      return 'waits for a slot: as many as may run at a time already run';
    case 'rate':
      return seconds === undefined
        ? "waits for its client's bytes a second"
        : `waits about ${formatSeconds(seconds)} for its client's bytes a second`;
    case 'journal':
      return 'waits for the journal';
    default:
      return `waits: ${reason satisfies never}`;
  }
}
