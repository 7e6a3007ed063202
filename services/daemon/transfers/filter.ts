// SPDX-License-Identifier: Apache-2.0
import { deviceNameOf } from '../../base/device-name.ts';
import type { EngineName } from '../../base/vocabulary.ts';
import type { TransferFilter } from './list-schema.ts';
import type { Status } from './schema.ts';
import type { Acceptance, Transfer } from './transfer.ts';

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

/** What a filter looks at of any work. */
export interface FilteredWork {
  status: Status;
  accepted: Pick<Acceptance, 'wallMs'>;
  labels: Readonly<Record<string, string>>;
  /** Those of its source and its destination. */
  deviceNames: readonly string[];
}

/** Which work a list or a stream of events is about. */
export class WorkFilter {
  readonly #query: TransferFilter;
  readonly #device: string | undefined;
  readonly #labels: readonly [name: string, value: string][];

  constructor(query: TransferFilter) {
    const { device_name: device, label } = query;
    this.#query = query;
    this.#device = device === undefined ? undefined : deviceNameOf(device);
    this.#labels = (label ?? []).map((pair) => {
      const colon = pair.indexOf(':');
      return [pair.slice(0, colon), pair.slice(colon + 1)];
    });
  }

  get engine(): EngineName | undefined {
    return this.#query.engine;
  }

  /** Whether it is about work of that status. */
  wants(status: Status): boolean {
    return this.#query.status?.includes(status) ?? true;
  }

  /** @param moment absent: now */
  hasTransfer(
    transfer: FilterSubject,
    moment: Moment = { status: transfer.status, engine: transfer.choice.engine },
  ): boolean {
    const { plan, settings, accepted } = transfer;
    const { operation, engine } = this.#query;
    if (operation !== undefined && plan.operation !== operation) return false;
    if (engine !== undefined && moment.engine !== engine) return false;
    const deviceNames = [plan.source.name, plan.destination.name];
    return this.#has({ status: moment.status, accepted, labels: settings.labels, deviceNames });
  }

  /** Of work that is no transfer: it has neither an operation nor an engine. */
  hasOther(work: FilteredWork): boolean {
    const { operation, engine } = this.#query;
    return operation === undefined && engine === undefined && this.#has(work);
  }

  #has({ status, accepted, labels, deviceNames }: FilteredWork): boolean {
    const { created_after: after, created_before: before } = this.#query;
    const createdMs = Math.floor(accepted.wallMs);
    if (!this.wants(status)) return false;
    if (after !== undefined && createdMs < after) return false;
    if (before !== undefined && createdMs >= before) return false;
    if (this.#device !== undefined && !deviceNames.includes(this.#device)) return false;
    return this.#labels.every(([name, value]) => labels[name] === value);
  }
}
