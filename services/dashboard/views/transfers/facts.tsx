// SPDX-License-Identifier: Apache-2.0
import type { Transfer } from '../../../client/types.ts';
import { exactBytes, formatOffset } from '../../model/format.ts';
import { formatRoute } from '../../model/route.ts';

/** All that the transfer says of itself, by name. */
export function Facts({ transfer }: { transfer: Transfer }) {
  const labels = Object.entries(transfer.labels).map(([key, value]) => `${key}: ${value}`);
  const facts: [string, preact.ComponentChildren][] = [
    ['Id', <code key="id">{transfer.id}</code>],
    ['From', place(transfer.device_name, transfer.src_offset)],
    ['To', place(transfer.dst_device_name, transfer.dst_offset)],
    ['Size', exactBytes(transfer.size)],
    ['Pattern', transfer.pattern && <code key="pattern">{transfer.pattern}</code>],
    ['Engine', `${transfer.engine.toUpperCase()}: ${transfer.engine_reason}`],
    ['Channels', transfer.channels.join(', ')],
    ['Priority', transfer.priority],
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
    ['Behind', <Links key="behind" ids={behind(transfer)} />],
  ];
  return (
    <section class="panel" aria-label="Facts">
      <h2>Facts</h2>
      <dl class="facts">
        {facts
          .filter(([name, value]) => value && (name !== 'Behind' || behind(transfer).length > 0))
          .map(([name, value]) => (
            <>
              <dt key={name}>{name}</dt>
              <dd key={`${name} value`}>{value}</dd>
            </>
          ))}
      </dl>
    </section>
  );
}

function place(device: string, offset: number | null): string | undefined {
  return offset === null ? device : `${device} at ${formatOffset(offset)}`;
}

function durabilityOf({ operation, durability }: Transfer): string | undefined {
  if (operation === 'compare') return undefined;
  const { requested, achieved, basis } = durability;
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
