// SPDX-License-Identifier: Apache-2.0
import type { TransferListQuery } from '../../client/types.ts';
import type { Transfer, TransferStatus } from './transfer.ts';

/** What the address has of the list's filter. */
export interface ListFilter {
  show: Group;
  device?: string | undefined;
  operation?: Transfer['operation'] | undefined;
  engine?: 'dma' | 'cpu' | undefined;
  /** `key:value` */
  label?: string | undefined;
}

export const GROUPS = ['all', 'running', 'queued', 'succeeded', 'failed'] as const;
export type Group = (typeof GROUPS)[number];

const STATUSES: Record<Group, readonly TransferStatus[]> = {
  all: ['running', 'queued', 'accepted', 'succeeded', 'failed', 'cancelled', 'interrupted'],
  running: ['running'],
  queued: ['queued', 'accepted'],
  succeeded: ['succeeded'],
  failed: ['failed', 'cancelled', 'interrupted'],
};

export function readFilter(query: Readonly<Record<string, string>>): ListFilter {
  const { show, device, operation, engine, label } = query;
  return {
    show: GROUPS.find((group) => group === show) ?? 'all',
    device,
    operation: (['copy', 'fill', 'compare'] as const).find((each) => each === operation),
    engine: (['dma', 'cpu'] as const).find((each) => each === engine),
    label: label?.includes(':') ? label : undefined,
  };
}

/** Whether it lets everything through. */
export function passesAll({ show, device, operation, engine, label }: ListFilter): boolean {
  return show === 'all' && !device && !operation && !engine && !label;
}

export function passesGroup(show: Group, status: TransferStatus): boolean {
  return STATUSES[show].includes(status);
}

/** Whether a transfer that the page knows passes, as the daemon would have it. */
export function passes(filter: ListFilter, transfer: Transfer): boolean {
  const { show, device, operation, engine, label } = filter;
  if (!passesGroup(show, transfer.status)) return false;
  if (device && device !== transfer.device_name && device !== transfer.dst_device_name)
    return false;
  if (operation && operation !== transfer.operation) return false;
  if (engine && engine !== transfer.engine) return false;
  if (!label) return true;
  const colon = label.indexOf(':');
  return transfer.labels[label.slice(0, colon)] === label.slice(colon + 1);
}

/** Asks the daemon for those that are over; undefined if the filter wants none of them. */
export function historyQuery(filter: ListFilter): TransferListQuery | undefined {
  const ends = endsOf(filter.show);
  if (ends.length === 0) return undefined;
  const { device, operation, engine, label } = filter;
  return {
    status: ends.join(','),
    view: 'basic',
    ...(device && { device_name: device }),
    ...(operation && { operation }),
    ...(engine && { engine }),
    ...(label && { label }),
  };
}

/** The statuses of those that are over, of a group. */
export function endsOf(show: Group): TransferStatus[] {
  return STATUSES[show].filter((one) => !['queued', 'accepted', 'running'].includes(one));
}
