// SPDX-License-Identifier: Apache-2.0
// Replications will be rows of their own kind beside these.
import type { Transfer } from '../../../client/types.ts';
import {
  formatNanoseconds,
  formatOffset,
  formatPercent,
  formatRate,
  formatSeconds,
  formatTime,
} from '../../model/format.ts';
import { rateOf, timeLeft } from '../../model/rate.ts';
import { formatRoute } from '../../model/route.ts';
import { sentenceOf, waitsFor } from '../../model/sentence.ts';
import { Actions } from '../../parts/actions.tsx';
import { Bar } from '../../parts/bar.tsx';
import { Status } from '../../parts/status.tsx';
import { now } from '../../state/clock.ts';
import type { Ended } from '../../state/history.ts';
import { store } from '../../state/transfers.ts';

interface Place {
  /** Of the row in the table, from 1. */
  index: number;
  /** In pixels. */
  top: number;
}

export function RowHead() {
  return (
    <div class="row head" role="row" aria-rowindex={1}>
      {['Status', 'What', 'Progress', '', 'Rate', 'Time', ''].map((title, index) => (
        <span key={index} role="columnheader" class={index > 2 ? 'number' : undefined}>
          {title || <span class="unseen">{index === 3 ? 'Percent' : 'Actions'}</span>}
        </span>
      ))}
    </div>
  );
}

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
    <Row
      {...{ transfer, ...place }}
      rate={running ? rate : transfer.throughput_bytes_per_second}
      time={running ? left && `${formatSeconds(left)} left` : takenBy(transfer)}
      actions={<Actions transfer={transfer} />}
    />
  );
}

export function EndedRow({ transfer, ...place }: Place & { transfer: Ended }) {
  return (
    <Row
      {...{ transfer, ...place }}
      rate={transfer.throughput_bytes_per_second}
      time={takenBy(transfer)}
    />
  );
}

interface RowProps extends Place {
  transfer: Transfer | Ended;
  rate: number | undefined;
  time: string | number | undefined;
  actions?: preact.ComponentChildren;
}

function Row({ transfer, index, top, rate, time, actions }: RowProps) {
  const { id, status, progress } = transfer;
  return (
    <div class="row" role="row" aria-rowindex={index} style={{ transform: `translateY(${top}px)` }}>
      <span role="cell" data-cell="state">
        <Status status={status} />
      </span>
      <span role="cell" class="what">
        <a href={formatRoute({ view: 'transfers', id })}>{sentenceOf(transfer)}</a>
        <span class="small quiet">{detailOf(transfer)}</span>
      </span>
      <span role="cell" data-cell="bar">
        <Bar transfer={transfer} />
      </span>
      <span role="cell" data-cell="percent" class="number">
        {formatPercent(progress)}
      </span>
      <span role="cell" data-cell="rate" class="number">
        {rate ? formatRate(rate) : ''}
      </span>
      <span role="cell" data-cell="left" class="number quiet">
        {time}
      </span>
      <span role="cell" class="actions">
        {actions}
      </span>
    </div>
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
    transfer.engine === 'dma' ? transfer.channels.join(', ') || 'DMA' : 'CPU',
    ...(transfer.client === undefined ? [] : [transfer.client]),
    ...(transfer.priority === 'normal' ? [] : [`${transfer.priority} priority`]),
    ...labels,
  ].join(' · ');
}

function takenBy({ started_at: started, finished_at: finished }: Transfer | Ended) {
  if (started === null || finished === null) return undefined;
  return formatNanoseconds((Date.parse(finished) - Date.parse(started)) * 1e6);
}
