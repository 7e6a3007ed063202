// SPDX-License-Identifier: Apache-2.0

import { TransferIds } from '../../base/transfer-ids.ts';
import { checkTotal } from '../../daemon/transfers/request.ts';
import type { Client } from '../../http/access/client.ts';
import { fieldProblem, Problem } from '../../http/problems/problem.ts';
import { mayUseHost } from '../access/hosts.ts';
import type { GroupCommit } from '../etcd/group-commit.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Store } from '../etcd/store.ts';
import type { HostLookup } from '../hosts/lookup.ts';
import {
  type Acceptance,
  Acceptor,
  etcdUnavailable,
  refusedByEtcd,
  unknownHost,
} from './acceptance.ts';
import { AdmissionControl } from './admission-control.ts';
import type { RunningRecord } from './record.ts';
import { type FleetTransferRequest, workingHost } from './schema.ts';
import type { View, Views } from './views.ts';

/** A transfer's end has its devices' names, each twice at most, and has to fit into etcd. */
const MAX_DEVICE_NAME = 255;

export interface ServiceOptions {
  store: Store;
  keys: Keys;
  commit: GroupCommit;
  mirror: Mirror;
  hosts: HostLookup;
  membership: Membership;
  views: Views;
  /** How many transfers of a client may be under way; undefined: as many as there is room for. */
  limitOf(client: string): number | undefined;
}

export interface Origin {
  client: Client;
  key: string | undefined;
  traceparent: string | undefined;
}

/** Accepts transfers, and cancels them: on any gateway, whoever owns their hosts. */
export class FleetTransfers {
  readonly #options: ServiceOptions;
  readonly #acceptor: Acceptor;
  readonly #admission: AdmissionControl;
  readonly #ids = new TransferIds();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#acceptor = new Acceptor(options.store, options.keys, options.commit);
    this.#admission = new AdmissionControl(options.mirror, options.limitOf);
  }

  /** How many wait for etcd. */
  get accepting(): number {
    return this.#acceptor.accepting;
  }

  /**
   * @param siblings ids of a batch that is accepted together with it
   * @returns the record that {@link accept} writes, under a new id
   * @throws Problem unknown_device, out_of_range, unknown_transfer
   */
  async prepare(
    request: FleetTransferRequest,
    { client, key, traceparent }: Origin,
    siblings: ReadonlySet<string> = new Set(),
  ): Promise<RunningRecord> {
    checkNames(request);
    // No host has so many, and the document could not say how many.
    checkTotal((request.segments ?? []).reduce((sum, { size }) => sum + size, 0));
    return {
      ...{ id: this.#ids.next(), client: client.name, host: workingHost(request), request },
      ...{ acceptedAt: Date.now(), usedKey: key, traceparent },
      waitsFor: await this.unmetDependencies(request, client, siblings),
      progress: { is: 'accepted' },
    };
  }

  /** Promises a transfer. @throws Problem; OutcomeUnknown */
  async accept(record: RunningRecord): Promise<Acceptance> {
    this.checkWritable();
    const problem = this.#admission.reserve(record);
    if (problem !== undefined) {
      // What was accepted before needs no reservation.
      const earlier = await this.#acceptor.findEarlier(record);
      if (earlier !== undefined) return earlier;
      throw problem;
    }
    try {
      const acceptance = await this.#acceptor.accept(record);
      if (acceptance.replayed) this.#admission.release(record.id);
      return acceptance;
    } catch (error) {
      this.#admission.release(record.id);
      throw error;
    }
  }

  /** Reserves room for transfers while they are accepted: for all or for none. @throws Problem queue_full */
  async withReservations<Outcome extends string>(
    records: readonly RunningRecord[],
    accept: () => Promise<Outcome | 'accepted'>,
  ): Promise<Outcome | 'accepted'> {
    let outcome: Outcome | 'accepted' | undefined;
    try {
      for (const record of records) {
        const problem = this.#admission.reserve(record);
        if (problem !== undefined) throw problem;
      }
      outcome = await accept();
      return outcome;
    } finally {
      if (outcome !== 'accepted') for (const { id } of records) this.#admission.release(id);
    }
  }

  /** The mirror has it. */
  seen(id: string): void {
    this.#admission.release(id);
  }

  /** @throws Problem unknown_host, also if the client may not use it; etcd_unavailable */
  async checkHosts({ host, dst_host }: FleetTransferRequest, client: Client): Promise<void> {
    const { mirror, hosts } = this.#options;
    if (!mirror.loaded) throw etcdUnavailable();
    const known = async (name: string) => mayUseHost(client, name) && (await hosts.has(name));
    if (!(await known(host))) throw unknownHost(host);
    if (dst_host !== undefined && !(await known(dst_host))) {
      throw unknownHost(dst_host, '/dst_host');
    }
  }

  /** @throws Problem if etcd takes no writes */
  checkWritable(): void {
    const { health } = this.#options.membership;
    if (health.is === 'away') throw etcdUnavailable();
  }

  /** Asks for a transfer to be stopped. @throws Problem not_found, not_cancellable */
  async cancel(id: string, client: Client, ms: number, gone: () => AbortSignal): Promise<View> {
    const { store, keys, views } = this.#options;
    const before = await views.find(id, client);
    if (before.ended === undefined) {
      this.checkWritable();
      const value = JSON.stringify({ client: client.name });
      try {
        await store.write(
          [{ key: keys.transfer(id), is: 'present' }],
          [{ put: keys.cancel(id), value }],
        );
      } catch (error) {
        // Asking twice does no harm: whatever became of it, the client may repeat it.
        throw refusedByEtcd(error);
      }
    }
    const view = await views.waitForEnd(id, client, ms, gone);
    if (view.ended !== undefined && view.document.status !== 'cancelled') {
      const detail = `The transfer has already ended: it is ${view.document.status}.`;
      throw new Problem('not_cancellable', detail, { members: { transfer: view.document } });
    }
    return view;
  }

  /**
   * Of what a request depends on, all that has not succeeded.
   *
   * @param siblings see {@link prepare}
   * @throws Problem unknown_transfer
   */
  async unmetDependencies(
    { depends_on: dependencies = [] }: FleetTransferRequest,
    client: Client,
    siblings: ReadonlySet<string>,
  ): Promise<string[]> {
    const unmet = new Set<string>();
    for (const [index, id] of dependencies.entries()) {
      const view = siblings.has(id) ? 'sibling' : await this.#options.views.read(id, false);
      if (view === 'sibling' || (view?.owner === client.name && !hasSucceeded(view))) {
        unmet.add(id);
      } else if (view?.owner !== client.name) {
        const detail = `There is no transfer ${JSON.stringify(id.slice(0, 40))} of this client.`;
        throw fieldProblem('unknown_transfer', `/depends_on/${index}`, detail);
      }
    }
    return [...unmet];
  }
}

/** @throws Problem unknown_device if a name is one that no host knows */
function checkNames(request: FleetTransferRequest): void {
  for (const field of ['device_name', 'dst_device_name'] as const) {
    if ((request[field]?.length ?? 0) <= MAX_DEVICE_NAME) continue;
    const detail = `No device's name has more than ${MAX_DEVICE_NAME} characters.`;
    throw fieldProblem('unknown_device', `/${field}`, detail);
  }
}

function hasSucceeded({ document }: View): boolean {
  return document.status === 'succeeded';
}
