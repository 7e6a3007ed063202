// SPDX-License-Identifier: Apache-2.0
import { formatOffset, formatTime } from '../../model/format.ts';
import { rateOf, timeLeft } from '../../model/rate.ts';
import { formatRoute } from '../../model/route.ts';
import { leftText, sentenceOf, takenBy, waitsFor } from '../../model/sentence.ts';
import type { Transfer } from '../../model/transfer.ts';
import { type Place, Row } from '../../parts/row.tsx';
import { now } from '../../state/clock.ts';
import { store } from '../../state/transfers.ts';
import { TransferActions } from './actions.tsx';

/** A transfer that is over, as the list has it: without segments and timings. */
export type Ended = Omit<Transfer, 'segments' | 'timings'>;

/** A transfer that the page follows: the row alone is drawn anew when it changes. */
export function LiveRow({ id, ...place }: Place & { id: string }) {
  const transfer = store.get(id)?.value;
  if (transfer === undefined) return null;
  const running = transfer.status === 'running';
  // Once a second, so that a transfer that stands still is seen to.
  void (running && now.value);
  const rate = running ? rateOf(store.samplesOf(id), performance.now()) : undefined;
  const left = timeLeft(transfer.size - transfer.bytes_completed, rate);
  return (
    <TransferRow
      {...{ transfer, ...place }}
      rate={running ? rate : transfer.throughput_bytes_per_second}
      time={running ? leftText(left) : takenBy(transfer)}
      actions={<TransferActions transfer={transfer} />}
    />
  );
}

export function EndedRow({ transfer, ...place }: Place & { transfer: Ended }) {
  return (
    <TransferRow
      {...{ transfer, ...place }}
      rate={transfer.throughput_bytes_per_second}
      time={takenBy(transfer)}
    />
  );
}

interface TransferRowProps extends Place {
  transfer: Transfer | Ended;
  rate: number | undefined;
  time: string | undefined;
  actions?: preact.ComponentChildren;
}

function TransferRow({ transfer, ...row }: TransferRowProps) {
  const { id, status, progress } = transfer;
  return (
    <Row
      {...{ ...row, status, progress }}
      href={formatRoute({ view: 'transfers', id })}
      what={sentenceOf(transfer)}
      detail={detailOf(transfer)}
      use={transfer.operation === 'compare' ? 'read' : 'write'}
    />
  );
}

/** Why it waits, why it failed, or else whose it is and what copies. */
function detailOf(transfer: Transfer | Ended): string {
  const waiting = waitsFor(transfer);
  if (waiting !== undefined) return waiting;
  if (transfer.error !== null && transfer.status !== 'cancelled') return transfer.error.detail;
  const { comparison } = transfer;
  if (comparison?.first_difference) {
    return `the ranges differ, first at ${formatOffset(comparison.first_difference.src_offset)}`;
  }
  const started = new Date(transfer.started_at ?? transfer.created_at);
  const labels = Object.entries(transfer.labels).map(([key, value]) => `${key}:${value}`);
  return [
    formatTime(started, new Date()),
    ...engineOf(transfer),
    ...(transfer.client === undefined ? [] : [transfer.client]),
    ...(transfer.priority === 'normal' ? [] : [`${transfer.priority} priority`]),
    ...labels,
  ].join(' · ');
}

function engineOf({ engine, channels }: Transfer | Ended): string[] {
  if (engine === null) return [];
  return [engine === 'dma' && channels.length > 0 ? channels.join(', ') : engine.toUpperCase()];
}
