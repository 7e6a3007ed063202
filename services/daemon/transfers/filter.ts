// SPDX-License-Identifier: Apache-2.0
import { deviceNameOf } from '../../base/device-name.ts';
import type { EngineName } from '../../base/vocabulary.ts';
import type { Status, TransferFilter } from './schema.ts';
import type { Transfer } from './transfer.ts';

/** What filters look at of a transfer. */
export interface FilterSubject extends Pick<Transfer, 'status'> {
  readonly choice: Pick<Transfer['choice'], 'engine'>;
  readonly plan: Pick<Transfer['plan'], 'operation'> & {
    readonly source: { readonly name: string };
    readonly destination: { readonly name: string };
  };
  readonly settings: Pick<Transfer['settings'], 'labels'>;
  readonly accepted: Pick<Transfer['accepted'], 'wallMs'>;
}

/** What changes in a transfer's life: of an event as it was then. */
interface Moment {
  status: Status;
  engine: EngineName;
}

/** @returns whether a transfer is one of those that a query is about, at a moment or now */
export function transferFilter(
  query: TransferFilter,
): (transfer: FilterSubject, moment?: Moment) => boolean {
  const { status, operation, device_name, engine, label } = query;
  const { created_after, created_before } = query;
  const device = device_name === undefined ? undefined : deviceNameOf(device_name);
  const labels = label?.map((pair): [string, string] => {
    const colon = pair.indexOf(':');
    return [pair.slice(0, colon), pair.slice(colon + 1)];
  });
  return (transfer, moment = { status: transfer.status, engine: transfer.choice.engine }) => {
    const { plan, settings } = transfer;
    if (status !== undefined && !status.includes(moment.status)) return false;
    if (isBefore(transfer, created_after)) return false;
    if (created_before !== undefined && !isBefore(transfer, created_before)) return false;
    if (operation !== undefined && plan.operation !== operation) return false;
    if (engine !== undefined && moment.engine !== engine) return false;
    if (device !== undefined && plan.source.name !== device && plan.destination.name !== device) {
      return false;
    }
    return labels?.every(([key, value]) => settings.labels[key] === value) ?? true;
  };
}

/** @param time by the wall clock, in milliseconds */
function isBefore({ accepted }: FilterSubject, time: number | undefined): boolean {
  return time !== undefined && Math.floor(accepted.wallMs) < time;
}
