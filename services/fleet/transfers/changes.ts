// SPDX-License-Identifier: Apache-2.0
import { DmadError } from '../../client/node.ts';
import type { Client } from '../../http/access/client.ts';
import { fieldProblem, Problem, retryLater } from '../../http/problems/problem.ts';
import type { Running } from '../etcd/fleet-state.ts';
import type { Keys } from '../etcd/keys.ts';
import { type Condition, only, type Row, type Store } from '../etcd/store.ts';
import type { Fleet } from '../hosts/fleet.ts';
import { etcdUnavailable, refusedByEtcd } from './acceptance.ts';
import { changeAtHost } from './at-host.ts';
import { documentFor } from './document.ts';
import { readRunning } from './record.ts';
import { describeRefusal, isRefusal, refusalOf } from './refusal.ts';
import { type FleetTransfer, type FleetTransferPatch, isReplication } from './schema.ts';
import type { FleetTransfers } from './service.ts';
import { patchedSettings, readSettings, settingsOf, writeSettings } from './settings.ts';
import type { Views } from './views.ts';

const CALL_MS = 10_000;
/** How often it may be handed over, or changed by somebody else, in the same moment. */
const ATTEMPTS = 5;

export interface ChangesOptions {
  store: Store;
  keys: Keys;
  fleet: Fleet;
  views: Views;
  transfers: FleetTransfers;
}

/**
 * Changes transfers that have not ended. What its host has, the host changes. Before that, the change
 * waits in etcd, and the owner tells the host as soon as that has the transfer: a host must be sent
 * the same request each time.
 */
export class Changes {
  readonly #options: ChangesOptions;

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** @throws Problem not_found, not_changeable, invalid_request, host_unreachable, etcd_unavailable */
  async change(id: string, client: Client, patch: FleetTransferPatch): Promise<FleetTransfer> {
    const { transfers, views } = this.#options;
    transfers.checkWritable();
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { running, document } = await views.find(id, client);
      if (running === undefined) {
        throw notChangeable(`The transfer has finished: ${document.status}.`, document);
      }
      checkFits(running, patch);
      const changed = await this.#tryChange(running, client, patch);
      if (changed !== undefined) return changed;
    }
    throw etcdUnavailable();
  }

  /** @returns undefined if it is another one by now */
  async #tryChange(
    { record: { id }, created }: Running,
    client: Client,
    patch: FleetTransferPatch,
  ): Promise<FleetTransfer | undefined> {
    const { store, keys, views } = this.#options;
    const [row, pending] = await this.#read(id);
    const record = row && readRunning(row.value);
    if (record === undefined) return undefined;
    const { progress, request } = record;
    if (progress.is === 'handed_over' && pending === undefined) {
      return this.#atHost({ record, created }, progress.hostId, client, patch);
    }
    const before = pending && readSettings(pending.value);
    const settings = patchedSettings(before ?? settingsOf(request), patch);
    const key = keys.change(id);
    const unchanged: Condition =
      pending === undefined ? { key, is: 'absent' } : { key, is: 'equal', value: pending.value };
    const conditions: Condition[] = [{ key: keys.transfer(id), is: 'present' }, unchanged];
    try {
      const value = writeSettings(settings);
      const { held } = await store.write(conditions, [{ put: key, value }]);
      if (!held) return undefined;
    } catch (error) {
      // Doing it twice does no harm: whatever became of it, the client may repeat it.
      throw refusedByEtcd(error);
    }
    const view = views.viewOf({ record, created }, undefined, settings);
    return documentFor(client, view.owner, view.document);
  }

  async #read(id: string): Promise<(Row | undefined)[]> {
    const { store, keys } = this.#options;
    const ranges = [only(keys.transfer(id)), only(keys.change(id))];
    const { rows } = await store.read(ranges).catch((error) => {
      throw refusedByEtcd(error);
    });
    return rows.map(([row]) => row);
  }

  async #atHost(
    running: Running,
    hostId: string,
    client: Client,
    patch: FleetTransferPatch,
  ): Promise<FleetTransfer> {
    const { record } = running;
    const { fleet, views } = this.#options;
    const { host } = record;
    const link = fleet.link(host);
    if (link === undefined) {
      throw retryLater('host_unreachable', `Host ${host} is not connected yet.`, 1);
    }
    link.checkReachable();
    const options = { deadlineMs: CALL_MS, retryForMs: 0 };
    try {
      const reported = await changeAtHost(link.client, { record, hostId }, patch, options);
      fleet.reported(record, reported);
      const view = views.viewOf(running, reported);
      return documentFor(client, view.owner, view.document);
    } catch (error) {
      if (error instanceof DmadError && error.code === 'not_changeable') {
        const { document } = views.viewOf(running);
        throw notChangeable(error.message, documentFor(client, record.client, document));
      }
      if (isRefusal(error)) throw refusalOf(error);
      const detail = `Host ${host} may not have changed it: ${describeRefusal(error)}`;
      throw retryLater('host_unreachable', detail, 2);
    }
  }
}

/** @throws Problem invalid_request */
function checkFits(
  { record: { request } }: Running,
  { bytes_per_second }: FleetTransferPatch,
): void {
  if (bytes_per_second === undefined || isReplication(request)) return;
  const detail = 'bytes_per_second is for transfers between hosts.';
  throw fieldProblem('invalid_request', '/bytes_per_second', detail);
}

function notChangeable(detail: string, transfer: FleetTransfer): Problem {
  return new Problem('not_changeable', detail, { members: { transfer } });
}
