// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { inBatch, indexOf } from '../../daemon/transfers/batch.ts';
import { fieldProblem, Problem } from '../../http/problems/problem.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Store } from '../etcd/store.ts';
import { checkSameRequest, keyInUse } from './acceptance.ts';
import { BatchAcceptor, MAX_HOSTS } from './batch-acceptance.ts';
import { digestOf } from './digest.ts';
import type { RunningRecord, UsedKey } from './record.ts';
import { type FleetTransferRequest, workingHost } from './schema.ts';
import type { FleetTransfers, Origin } from './service.ts';

/** How often others may be met that use the same keys, and how long they have each time. */
const ATTEMPTS = 10;
const PAUSE_MS = 200;

/** A transfer of a batch. */
export interface Entry {
  id: string;
  /** Undefined if an earlier request made it. */
  record: RunningRecord | undefined;
}

export interface BatchesOptions {
  store: Store;
  keys: Keys;
  transfers: FleetTransfers;
}

/** One of a batch's requests. */
export type BatchedRequest = FleetTransferRequest & { idempotency_key?: string | undefined };

/** Accepts many transfers together, or none. */
export class Batches {
  readonly #acceptor: BatchAcceptor;
  readonly #transfers: FleetTransfers;

  constructor({ store, keys, transfers }: BatchesOptions) {
    this.#acceptor = new BatchAcceptor(store, keys);
    this.#transfers = transfers;
  }

  /**
   * @returns for each the transfer that was made, now or by an earlier request with its key
   * @throws Problem about one of them, as of {@link inBatch}; OutcomeUnknown
   */
  async accept(requests: readonly BatchedRequest[], origin: Omit<Origin, 'key'>): Promise<Entry[]> {
    this.#transfers.checkWritable();
    checkHostCount(requests);
    const keys = requests.flatMap(({ idempotency_key: key }) => key ?? []);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const used = await this.#acceptor.readUsed(origin.client.name, [...new Set(keys)]);
      if (![...used.values()].some(({ reserved }) => reserved)) {
        const entries = await this.#prepareAll(requests, used, origin);
        const fresh = entries.flatMap(({ record }) => record ?? []);
        const accept = () => this.#acceptor.accept(fresh);
        if ((await this.#transfers.withReservations(fresh, accept)) === 'accepted') return entries;
      }
      await sleep(PAUSE_MS);
    }
    throw keyInUse();
  }

  /** @param used by earlier requests, by key */
  async #prepareAll(
    requests: readonly BatchedRequest[],
    used: ReadonlyMap<string, UsedKey>,
    origin: Omit<Origin, 'key'>,
  ): Promise<Entry[]> {
    const entries: Entry[] = [];
    const known = new Map(used);
    const siblings = new Set<string>();
    for (const [index, { idempotency_key: key, ...request }] of requests.entries()) {
      const resolved = withIds(request, entries);
      try {
        const before = key === undefined ? undefined : known.get(key);
        if (before !== undefined) {
          checkSameRequest(before, resolved);
          entries.push({ id: before.id, record: undefined });
          continue;
        }
        const record = await this.#transfers.prepare(resolved, { ...origin, key }, siblings);
        entries.push({ id: record.id, record });
        siblings.add(record.id);
        if (key !== undefined) known.set(key, { id: record.id, digest: digestOf(resolved) });
      } catch (error) {
        throw error instanceof Problem ? inBatch(error, index) : error;
      }
    }
    return entries;
  }
}

/** With ids in place of the names of earlier ones of the list, such as `#0`. */
function withIds(request: FleetTransferRequest, before: readonly Entry[]): FleetTransferRequest {
  if (request.depends_on === undefined) return request;
  const ids = request.depends_on.map((name) => before[indexOf(name) ?? before.length]?.id ?? name);
  return { ...request, depends_on: [...new Set(ids)] };
}

/** @throws Problem invalid_request */
function checkHostCount(requests: readonly FleetTransferRequest[]): void {
  const { size } = new Set(requests.map(workingHost));
  if (size <= MAX_HOSTS) return;
  const detail = `A batch may be for up to ${MAX_HOSTS} hosts, and this one is for ${size}.`;
  throw fieldProblem('invalid_request', '/transfers', detail);
}
