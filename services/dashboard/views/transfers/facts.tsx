// SPDX-License-Identifier: Apache-2.0
import { isOver } from '../../../client/index.ts';
import { describeBytes, formatOffset, formatRate } from '../../model/format.ts';
import { formatRoute } from '../../model/route.ts';
import type { Transfer } from '../../model/transfer.ts';
import { type Fact, FactList } from '../../parts/fact-list.tsx';

/** All that the transfer says of itself, by name. */
export function Facts({ transfer }: { transfer: Transfer }) {
  const labels = Object.entries(transfer.labels).map(([key, value]) => `${key}: ${value}`);
  const ids = behind(transfer);
  const facts: Fact[] = [
    ['Id', <code key="id">{transfer.id}</code>],
    ['From', place(transfer.device_name, transfer.src_offset)],
    ['To', place(transfer.dst_device_name, transfer.dst_offset)],
    ['Size', describeBytes(transfer.size)],
    ['Pattern', transfer.pattern && <code key="pattern">{transfer.pattern}</code>],
    ['Engine', engineOf(transfer)],
    ['Channels', transfer.channels.join(', ')],
    ['Priority', transfer.priority],
    ['Rate limit', transfer.bytes_per_second && formatRate(transfer.bytes_per_second)],
    ['Timeout', transfer.timeout_ms && `${transfer.timeout_ms / 1000} s`],
    ['Durability', durabilityOf(transfer)],
    ['Verified', transfer.verification && `CRC-32C ${transfer.verification.dst}`],
    ['Retries', transfer.retries || undefined],
    ['Client', transfer.client],
    ['Labels', labels.join(', ')],
    ['Accepted', transfer.created_at],
    ['Started', transfer.started_at],
    ['Ended', transfer.finished_at],
    ['Trace', transfer.traceparent],
    ['Behind', ids.length > 0 && <Links key="behind" ids={ids} />],
  ];
  return (
    <section class="panel" aria-label="Facts">
      <h2>Facts</h2>
      <FactList facts={facts} />
    </section>
  );
}

function place(device: string, offset: number | null): string | undefined {
  return offset === null ? device : `${device} at ${formatOffset(offset)}`;
}

function engineOf({ engine, engine_reason: reason }: Transfer): string {
  return engine === null ? reason : `${engine.toUpperCase()}: ${reason}`;
}

function durabilityOf(transfer: Transfer): string | undefined {
  const { requested, achieved, basis } = transfer.durability;
  if (transfer.operation === 'compare') return undefined;
  if (!isOver(transfer)) return `${requested} asked for`;
  const how = basis === null ? '' : ` by ${basis}`;
  return `${requested} asked for, ${achieved} achieved${how}`;
}

/** The transfers that it starts after. */
function behind({ depends_on: depends, waiting_for: waiting }: Transfer): string[] {
  return [...new Set([...depends, ...(waiting?.transfers ?? [])])];
}

function Links({ ids }: { ids: readonly string[] }) {
  return (
    <>
      {ids.map((id) => (
        <a key={id} class="mono" href={formatRoute({ view: 'transfers', id })}>
          {id}{' '}
        </a>
      ))}
    </>
  );
}
