// SPDX-License-Identifier: Apache-2.0
import { OutcomeUnknown, Problem, retryLater } from '../../http/problems/problem.ts';
import { isUnknown } from '../etcd/group-commit.ts';
import type { Keys } from '../etcd/keys.ts';
import { type Condition, only, type Row, type Store, type Write } from '../etcd/store.ts';
import { etcdUnavailable, refusedByEtcd, unknownHost } from './acceptance.ts';
import { digestOf } from './digest.ts';
import {
  type RunningRecord,
  readUsedKey,
  type UsedKey,
  writeRunning,
  writeUsedKey,
} from './record.ts';

/** etcd takes 128 conditions or ranges in a transaction… */
const MAX_CONDITIONS = 120;
/** …and 88 beside many operations, of which each host needs two: see etcd-store.ts. */
export const MAX_HOSTS = 40;
/** etcd takes a request of up to 1.5 MiB (--max-request-bytes). */
const MAX_BYTES = 1_400_000;
const OPERATION_BYTES = 200;
/** By then a batch is accepted, or never. */
const RESERVED_SECONDS = 30;
const ATTEMPTS = 3;

/** The keys of a batch, all of which hang on one lease: they are there together, or none is. */
interface Reservation {
  lease: string;
  /** Holds as long as they are there. */
  condition: Condition;
}

/**
 * Writes the transfers of a batch in one transaction. That can have too few conditions for all their
 * Idempotency-Keys, so that those are reserved before, under a lease; the transaction holds only if
 * that has not ended, and makes the reservations last.
 */
export class BatchAcceptor {
  readonly #store: Store;
  readonly #keys: Keys;

  constructor(store: Store, keys: Keys) {
    this.#store = store;
    this.#keys = keys;
  }

  /** What a client has used of these keys. @throws Problem etcd_unavailable */
  async readUsed(client: string, usedKeys: readonly string[]): Promise<Map<string, UsedKey>> {
    const rows = await this.#readEach(usedKeys.map((key) => this.#keys.used(client, key)));
    const used = new Map<string, UsedKey>();
    for (const [index, key] of usedKeys.entries()) {
      const row = rows[index];
      const found = row && readUsedKey(row.value);
      if (found !== undefined) used.set(key, found);
    }
    return used;
  }

  /**
   * Promises all of them, or none.
   *
   * @param records of one client
   * @returns `key_taken` if another request has used one of their keys meanwhile
   * @throws Problem etcd_unavailable, storage_full, payload_too_large, unknown_host: none is accepted
   * @throws OutcomeUnknown if they may have been accepted
   */
  async accept(records: readonly RunningRecord[]): Promise<'accepted' | 'key_taken'> {
    const writes = records.flatMap((record) => this.#writesOf(record));
    checkSize(writes);
    const keyed = records.filter(({ usedKey }) => usedKey !== undefined);
    if (keyed.length === 0) {
      await this.#commit(records, writes, []);
      return 'accepted';
    }
    const reservation = await this.#reserve(keyed);
    if (reservation === undefined) return 'key_taken';
    try {
      await this.#commit(records, writes, [reservation.condition]);
      return 'accepted';
    } finally {
      // What was made to last is not under it any more.
      void this.#store.revokeLease(reservation.lease).catch(() => {});
    }
  }

  #writesOf(record: RunningRecord): Write[] {
    const { id, client, usedKey, request } = record;
    const transfer = { put: this.#keys.transfer(id), value: writeRunning(record) };
    if (usedKey === undefined) return [transfer];
    const value = writeUsedKey({ id, digest: digestOf(request) });
    return [transfer, { put: this.#keys.used(client, usedKey), value }];
  }

  /** @returns undefined if one of the keys is not free @throws Problem etcd_unavailable, storage_full */
  async #reserve(keyed: readonly RunningRecord[]): Promise<Reservation | undefined> {
    const entries = keyed.map(({ id, client, usedKey = '', request }) => ({
      key: this.#keys.used(client, usedKey),
      value: writeUsedKey({ id, digest: digestOf(request), reserved: true }),
    }));
    let lease: string | undefined;
    let free = false;
    try {
      lease = await this.#store.grantLease(RESERVED_SECONDS);
      free = await this.#reserveAll(entries, lease);
      const [first] = entries;
      if (!free || first === undefined) return undefined;
      return { lease, condition: { ...first, is: 'equal' } };
    } catch (error) {
      free = false;
      throw refusedByEtcd(error);
    } finally {
      if (!free && lease !== undefined) void this.#store.revokeLease(lease).catch(() => {});
    }
  }

  async #reserveAll(
    entries: readonly { key: string; value: string }[],
    lease: string,
  ): Promise<boolean> {
    for (const some of slicesOf(entries)) {
      const { held } = await this.#store.write(
        some.map(({ key }) => ({ key, is: 'absent' })),
        some.map(({ key: put, value }) => ({ put, value, lease })),
      );
      if (!held) return false;
    }
    return true;
  }

  async #commit(
    records: readonly RunningRecord[],
    writes: readonly Write[],
    reserved: readonly Condition[],
  ): Promise<void> {
    const keys = this.#keys;
    const [first] = records;
    if (first === undefined) return;
    const hosts = [...new Set(records.map(({ host }) => host))];
    const conditions: Condition[] = [
      ...hosts.flatMap((host): Condition[] => [
        { key: keys.host(host), is: 'present' },
        { key: keys.leaving(host), is: 'absent' },
      ]),
      // An attempt that etcd receives late must not bring back what has ended.
      { key: keys.transfer(first.id), is: 'absent' },
      { key: keys.ended(first.id), is: 'absent' },
      ...reserved,
    ];
    let unknown = false;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        if ((await this.#store.write(conditions, writes)).held) return;
        await this.#explain(first.id, records);
        return;
      } catch (error) {
        // What was tried before may still be written.
        if (error instanceof Problem && unknown) break;
        if (error instanceof Problem) throw error;
        unknown ||= isUnknown(error);
        if (!unknown) throw refusedByEtcd(error);
      }
    }
    throw new OutcomeUnknown(`whether etcd has the batch of transfer ${first.id} is not known`);
  }

  /** Returns if an attempt whose outcome was not known has written them. @throws Problem why it was not */
  async #explain(first: string, records: readonly RunningRecord[]): Promise<void> {
    const keys = this.#keys;
    const { rows } = await this.#store.read([only(keys.transfer(first)), only(keys.ended(first))]);
    if (rows.some((found) => found.length > 0)) return;
    const hosts = [...new Set(records.map(({ host }) => host))];
    const present = await this.#readEach(hosts.map((host) => keys.host(host)));
    const missing = hosts.find((_, index) => present[index] === undefined);
    if (missing !== undefined) throw unknownHost(missing, '/transfers');
    const leaving = await this.#readEach(hosts.map((host) => keys.leaving(host)));
    const [removed] = hosts.filter((_, index) => leaving[index] !== undefined);
    if (removed === undefined) throw etcdUnavailable();
    throw retryLater('host_unreachable', `Host ${removed} is being removed: retry later.`, 1);
  }

  /** @throws Problem etcd_unavailable */
  async #readEach(each: readonly string[]): Promise<(Row | undefined)[]> {
    const found: (Row | undefined)[] = [];
    for (const some of slicesOf(each)) {
      const { rows } = await this.#store.read(some.map(only)).catch((error) => {
        throw refusedByEtcd(error);
      });
      found.push(...rows.map(([row]) => row));
    }
    return found;
  }
}

/** @throws Problem payload_too_large */
function checkSize(writes: readonly Write[]): void {
  const bytes = writes.reduce(
    (sum, write) => sum + OPERATION_BYTES + ('put' in write ? Buffer.byteLength(write.value) : 0),
    0,
  );
  if (bytes <= MAX_BYTES) return;
  const detail = 'The batch is larger than what etcd takes at once: make two of it.';
  throw new Problem('payload_too_large', detail);
}

function* slicesOf<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < items.length; at += MAX_CONDITIONS) {
    yield items.slice(at, at + MAX_CONDITIONS);
  }
}
