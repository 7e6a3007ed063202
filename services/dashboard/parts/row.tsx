// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { formatPercent, formatRate } from '../model/format.ts';
import type { TransferStatus } from '../model/transfer.ts';
import { Bar } from './bar.tsx';
import { Status } from './status.tsx';

/** Where a row is. */
export interface Place {
  /** In the table, from 1. */
  index: number;
  /** In pixels. */
  top: number;
}

const TITLES = ['Status', 'What', 'Progress', 'Percent', 'Rate', 'Time', 'Actions'];
/** What is seen to be a percentage, and buttons, need no title. */
const UNSEEN = ['Percent', 'Actions'];

export function RowHead() {
  return (
    <div class="row head" role="row" aria-rowindex={1}>
      {TITLES.map((title, index) => (
        <span key={title} role="columnheader" class={index > 2 ? 'number' : undefined}>
          {UNSEEN.includes(title) ? <span class="unseen">{title}</span> : title}
        </span>
      ))}
    </div>
  );
}

interface RowProps extends Place {
  status: TransferStatus;
  /** Of its own page. */
  href: string;
  /** What it does, in a sentence. */
  what: string;
  /** Why it waits, say. */
  detail: string;
  progress: number;
  use: 'read' | 'write';
  /** In bytes a second. */
  rate: number | undefined;
  time: string | undefined;
  actions?: ComponentChildren;
}

/** A transfer, or a replication. */
export function Row(row: RowProps) {
  const { status, progress, rate } = row;
  return (
    <div
      class="row"
      role="row"
      aria-rowindex={row.index}
      style={{ transform: `translateY(${row.top}px)` }}
    >
      <span role="cell" data-cell="state">
        <Status status={status} />
      </span>
      <span role="cell" class="what">
        <a href={row.href}>{row.what}</a>
        <span class="small quiet">{row.detail}</span>
      </span>
      <span role="cell" data-cell="bar">
        <Bar progress={progress} status={status} use={row.use} />
      </span>
      <span role="cell" data-cell="percent" class="number">
        {formatPercent(progress)}
      </span>
      <span role="cell" data-cell="rate" class="number">
        {rate ? formatRate(rate) : ''}
      </span>
      <span role="cell" data-cell="left" class="number quiet">
        {row.time}
      </span>
      <span role="cell" class="actions">
        {row.actions}
      </span>
    </div>
  );
}
