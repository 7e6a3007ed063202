// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { fieldProblem, OutcomeUnknown, Problem, retryLater } from '../../http/problems/problem.ts';
import { type GroupCommit, isUnknown } from '../etcd/group-commit.ts';
import type { Keys } from '../etcd/keys.ts';
import {
  type Condition,
  EtcdError,
  only,
  type Row,
  type Store,
  type Write,
} from '../etcd/store.ts';
import { digestOf } from './digest.ts';
import {
  type RunningRecord,
  readUsedKey,
  type UsedKey,
  writeRunning,
  writeUsedKey,
} from './record.ts';
import { type FleetTransferRequest, isReplication } from './schema.ts';

/** How long a batch may take to be accepted whose key another request has, and how often that is asked. */
const SETTLED_MS = 3000;
const SETTLING_MS = 100;
/** How often an outcome that is not known is asked for. */
const ATTEMPTS = 3;

export interface Acceptance {
  /** Of the transfer that was made, now or by an earlier request with the same key. */
  id: string;
  replayed: boolean;
}

/** Writes transfers to etcd, from when on they are promised. */
export class Acceptor {
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #commit: GroupCommit;
  #accepting = 0;

  constructor(store: Store, keys: Keys, commit: GroupCommit) {
    this.#store = store;
    this.#keys = keys;
    this.#commit = commit;
  }

  /** How many transfers wait for etcd. */
  get accepting(): number {
    return this.#accepting;
  }

  /**
   * @throws Problem etcd_unavailable: it is not accepted; unknown_host;
   *   idempotency_key_reused
   * @throws OutcomeUnknown if it may have been accepted
   */
  async accept(record: RunningRecord): Promise<Acceptance> {
    this.#accepting++;
    try {
      return await this.#accept(record);
    } finally {
      this.#accepting--;
    }
  }

  async #accept(record: RunningRecord): Promise<Acceptance> {
    const { id, host, client, request, usedKey } = record;
    const keys = this.#keys;
    const conditions: Condition[] = [
      { key: keys.host(host), is: 'present' },
      { key: keys.leaving(host), is: 'absent' },
      { key: keys.transfer(id), is: 'absent' },
      // An attempt that etcd receives late must not bring back what has ended.
      { key: keys.ended(id), is: 'absent' },
    ];
    const writes: Write[] = [{ put: keys.transfer(id), value: writeRunning(record) }];
    if (usedKey !== undefined) {
      const put = keys.used(client, usedKey);
      conditions.push({ key: put, is: 'absent' });
      writes.push({ put, value: writeUsedKey({ id, digest: digestOf(request) }) });
    }
    let unknown = false;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        if (await this.#commit.write({ conditions, writes })) return { id, replayed: false };
        const found = await this.#explain(record);
        if (found !== undefined) return found;
      } catch (error) {
        if (error instanceof Problem) {
          // What was tried before may still be written, unless its key is another's.
          if (unknown && error.code !== 'idempotency_key_reused') break;
          throw error;
        }
        unknown ||= isUnknown(error);
        // What has not been sent is not sent again: the client learns that at once.
        if (!unknown) throw refusedByEtcd(error);
      }
    }
    if (!unknown) throw etcdUnavailable();
    throw new OutcomeUnknown(`whether etcd has transfer ${id} is not known`);
  }

  /**
   * The transfer that an earlier request with the same key made.
   *
   * @throws Problem idempotency_key_reused, etcd_unavailable
   */
  async findEarlier(record: RunningRecord): Promise<Acceptance | undefined> {
    if (record.usedKey === undefined) return undefined;
    const used = this.#keys.used(record.client, record.usedKey);
    const { rows } = await this.#store.read([only(used)]).catch((error) => {
      throw refusedByEtcd(error);
    });
    return earlierOf(record, rows[0]?.[0]);
  }

  /** Why it was not written. @returns undefined if it has to be written again */
  async #explain(record: RunningRecord): Promise<Acceptance | undefined> {
    const { id, host, client, request, usedKey } = record;
    const keys = this.#keys;
    const used = usedKey === undefined ? [] : [only(keys.used(client, usedKey))];
    const { rows } = await this.#store.read([
      ...[only(keys.host(host)), only(keys.leaving(host))],
      ...[only(keys.transfer(id)), only(keys.ended(id)), ...used],
    ]);
    const [hosts = [], leaving = [], transfers = [], ended = [], [usedRow] = []] = rows;
    // An attempt whose outcome was not known has written it.
    if (transfers.length > 0 || ended.length > 0) return { id, replayed: false };
    const earlier = earlierOf(record, usedRow);
    if (earlier !== undefined) return earlier;
    if (isReserved(usedRow)) await this.#settled(keys.used(client, usedKey ?? ''));
    if (hosts.length === 0) throw unknownHost(host, hostPointer(request));
    if (leaving.length > 0) {
      throw retryLater('host_unreachable', `Host ${host} is being removed: retry later.`, 1);
    }
    return undefined;
  }

  /** Waits until a batch that uses a key is accepted or not. @throws Problem overloaded */
  async #settled(used: string): Promise<void> {
    for (let waited = 0; waited < SETTLED_MS; waited += SETTLING_MS) {
      await sleep(SETTLING_MS);
      const { rows } = await this.#store.read([only(used)]);
      if (!isReserved(rows[0]?.[0])) return;
    }
    throw keyInUse();
  }
}

/** @throws Problem idempotency_key_reused */
function earlierOf({ request }: RunningRecord, row: Row | undefined): Acceptance | undefined {
  const used = row && readUsedKey(row.value);
  if (used === undefined || used.reserved) return undefined;
  checkSameRequest(used, request);
  return { id: used.id, replayed: true };
}

/** @throws Problem idempotency_key_reused */
export function checkSameRequest({ digest }: UsedKey, request: FleetTransferRequest): void {
  if (digest === digestOf(request)) return;
  const detail = 'This Idempotency-Key was used with another body: use a new key.';
  throw new Problem('idempotency_key_reused', detail);
}

function isReserved(row: Row | undefined): boolean {
  return row !== undefined && readUsedKey(row.value)?.reserved === true;
}

export function keyInUse(): Problem {
  const detail = 'A request with this Idempotency-Key is being accepted: retry later.';
  return retryLater('overloaded', detail);
}

/** The field of a request that names the host that does the work. */
export function hostPointer(request: FleetTransferRequest): string {
  return isReplication(request) ? '/dst_host' : '/host';
}

export function unknownHost(host: string, pointer = '/host'): Problem {
  return fieldProblem(
    'unknown_host',
    pointer,
    `No host is named "${host}"; GET /hosts lists them.`,
  );
}

/** What a client reads if etcd has certainly not done something. */
export function refusedByEtcd(error: unknown): Problem {
  if (error instanceof EtcdError && error.failure === 'full') {
    const detail =
      'etcd has no space left (alarm NOSPACE): compact and defragment it. Retry later.';
    return retryLater('etcd_unavailable', detail, 30);
  }
  return etcdUnavailable();
}

export function etcdUnavailable(): Problem {
  return retryLater('etcd_unavailable', 'etcd cannot be reached: retry later.', 2);
}
