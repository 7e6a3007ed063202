// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { GroupCommit } from '../etcd/group-commit.ts';
import type { Keys } from '../etcd/keys.ts';
import { Retention } from '../etcd/retention.ts';
import { type Condition, EtcdError, only, type Store, type Write } from '../etcd/store.ts';
import { digestOf } from './digest.ts';
import { endWithSettings } from './document.ts';
import {
  type EndedRecord,
  type RunningRecord,
  writeEnded,
  writeRunning,
  writeUsedKey,
} from './record.ts';
import { readSettings, type Settings, writeSettings } from './settings.ts';

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 2000;

export interface OwnerWritesOptions {
  store: Store;
  keys: Keys;
  commit: GroupCommit;
  /** This gateway's name; undefined while it has none that is certain to last. */
  member(): string | undefined;
}

/**
 * What an owner writes of its hosts' transfers. Each write holds only if this gateway still owns the
 * host, so that one that was taken for dead changes nothing.
 */
export class OwnerWrites {
  readonly #options: OwnerWritesOptions;
  readonly #commit: GroupCommit;
  readonly #retention: Retention;

  constructor(options: OwnerWritesOptions) {
    this.#options = options;
    this.#commit = options.commit;
    this.#retention = new Retention(options.store);
  }

  /** Whether this gateway has a name that is certain to last: without one it owns nothing. */
  get isMember(): boolean {
    return this.#options.member() !== undefined;
  }

  /** @returns whether this gateway owns the host; if not, nothing was written */
  handedOver(record: RunningRecord): Promise<boolean> {
    const put = this.#options.keys.transfer(record.id);
    return this.#write(
      (me) => [this.#ownedBy(me, record.host), { key: put, is: 'present' }],
      async () => [{ put, value: writeRunning(record) }],
    );
  }

  /**
   * An end that etcd has already stands.
   *
   * @returns whether the transfer has ended; if not, this gateway does not own the host
   */
  async ended(record: RunningRecord, end: EndedRecord): Promise<boolean> {
    const outcome = await this.#end(record, end, (me) => this.#ownedBy(me, record.host));
    return outcome !== 'not_allowed';
  }

  /**
   * A host has received what a client changed. What was changed again meanwhile stays.
   *
   * @param record that of one that is handed over: who finds no change in etcd from now on has to find
   *   that its host has the transfer, and change it there
   */
  async changed(record: RunningRecord, settings: Settings): Promise<void> {
    const { keys } = this.#options;
    const transfer = keys.transfer(record.id);
    const change = keys.change(record.id);
    const value = writeSettings(settings);
    await this.#write(
      (me) => [
        ...[this.#ownedBy(me, record.host), { key: transfer, is: 'present' } as const],
        { key: change, is: 'equal', value },
      ],
      async () => [{ delete: change }, { put: transfer, value: writeRunning(record) }],
    );
  }

  /** The end of a transfer whose host was removed. @returns whether it is, and the end was written */
  async abandoned(record: RunningRecord, end: EndedRecord): Promise<boolean> {
    const host = this.#options.keys.host(record.host);
    return (await this.#end(record, end, () => ({ key: host, is: 'absent' }))) === 'written';
  }

  /** Writes an end, with what a client has changed of the transfer by then. */
  async #end(
    record: RunningRecord,
    end: EndedRecord,
    allowed: (me: string) => Condition,
  ): Promise<'written' | 'ended_before' | 'not_allowed'> {
    const { keys } = this.#options;
    const transfer = keys.transfer(record.id);
    const change = keys.change(record.id);
    // Most are never changed.
    for (let known: string | undefined; ; ) {
      const unchanged: Condition =
        known === undefined
          ? { key: change, is: 'absent' }
          : { key: change, is: 'equal', value: known };
      const settings = known === undefined ? undefined : readSettings(known);
      const changed = known === undefined ? [] : [{ delete: change }];
      const written = await this.#write(
        (me) => [allowed(me), { key: transfer, is: 'present' }, unchanged],
        async () => [
          ...(await this.#endOf(
            record,
            settings === undefined ? end : endWithSettings(end, settings),
          )),
          ...changed,
        ],
      );
      if (written) return 'written';
      const found = await this.#readIf(allowed, [transfer, change]);
      if (found === undefined) return 'not_allowed';
      const [running, now] = found;
      if (running === undefined) return 'ended_before';
      known = now;
    }
  }

  #ownedBy(me: string, host: string): Condition {
    return { key: this.#options.keys.owner(host), is: 'equal', value: me };
  }

  async #endOf({ request, usedKey, client }: RunningRecord, end: EndedRecord): Promise<Write[]> {
    const { keys } = this.#options;
    const { id, refused } = end;
    const lease = await this.#retention.lease();
    const writes: Write[] = [
      { delete: keys.transfer(id) },
      { delete: keys.cancel(id) },
      { put: keys.ended(id), value: writeEnded(end), lease },
    ];
    if (usedKey === undefined) return writes;
    const used = keys.used(client, usedKey);
    // What was refused has not used its key up.
    if (refused) return [...writes, { delete: used }];
    const value = writeUsedKey({ id, digest: digestOf(request) });
    return [...writes, { put: used, value, lease }];
  }

  /** @returns the value of each key that is there; undefined if the condition does not hold any more */
  #readIf(
    allowed: (me: string) => Condition,
    each: readonly string[],
  ): Promise<(string | undefined)[] | undefined> {
    return this.#persist(async (me) => {
      const condition = allowed(me);
      const { rows } = await this.#options.store.read([condition.key, ...each].map(only));
      const [value, ...values] = rows.map(([row]) => row?.value);
      return holds(condition, value) ? values : undefined;
    }, undefined);
  }

  /** Tries until it is known whether it is written. The conditions keep it from being written twice. */
  #write(
    conditionsOf: (me: string) => Condition[],
    writesOf: () => Promise<Write[]>,
  ): Promise<boolean> {
    return this.#persist(
      async (me) => this.#commit.write({ conditions: conditionsOf(me), writes: await writesOf() }),
      false,
    );
  }

  /** Asks etcd until it answers. @param otherwise the result once this gateway is no member any more */
  async #persist<Result>(ask: (me: string) => Promise<Result>, otherwise: Result): Promise<Result> {
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
      const me = this.#options.member();
      if (me === undefined) return otherwise;
      try {
        return await ask(me);
      } catch (error) {
        if (error instanceof EtcdError && error.failure === 'no_lease') this.#retention.forget();
        // Health and log tell of etcd's absence: see membership.ts.
        await sleep(retryMs * (0.5 + Math.random() / 2));
      }
    }
  }
}

function holds(condition: Condition, value: string | undefined): boolean {
  switch (condition.is) {
    case 'absent':
      return value === undefined;
    case 'present':
      return value !== undefined;
    case 'equal':
      return value === condition.value;
  }
}
