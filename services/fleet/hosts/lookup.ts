// SPDX-License-Identifier: Apache-2.0
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import { only, type Store } from '../etcd/store.ts';
import { etcdUnavailable } from '../transfers/acceptance.ts';

/** How many names are read at a time: etcd takes 128 operations in a transaction. */
const MAX_NAMES = 100;
/** Between two reads, however many clients ask for hosts that do not exist. */
const PAUSE_MS = 10;

interface Asked {
  promise: Promise<boolean>;
  settle(answer: Promise<boolean>): void;
}

export interface HostLookupOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  membership: Membership;
}

/**
 * Tells whether there is a host, also one that another gateway has just added and that the watch has
 * not brought yet. etcd is asked only for names that the mirror does not have, by one read at a time.
 */
export class HostLookup {
  readonly #options: HostLookupOptions;
  /** Those that the next read is for. */
  #asked = new Map<string, Asked>();
  #reading = false;

  constructor(options: HostLookupOptions) {
    this.#options = options;
  }

  /** @returns whether the mirror has the host by now @throws Problem etcd_unavailable if that is not known */
  async has(name: string): Promise<boolean> {
    const { mirror, membership } = this.#options;
    if (mirror.hosts.has(name)) return true;
    if (!mirror.loaded || membership.health.is === 'away') throw etcdUnavailable();
    let asked = this.#asked.get(name);
    if (asked === undefined) {
      let settle: Asked['settle'] = () => {};
      const promise = new Promise<boolean>((resolve) => {
        settle = resolve;
      });
      asked = { promise, settle };
      this.#asked.set(name, asked);
      void this.#readAll();
    }
    return asked.promise.catch(() => {
      throw etcdUnavailable();
    });
  }

  async #readAll(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    // What comes in this turn of the event loop is read together.
    await Promise.resolve();
    while (this.#asked.size > 0) {
      const some = [...this.#asked].slice(0, MAX_NAMES);
      // Who asks from now on may have seen a write that this read does not.
      for (const [name] of some) this.#asked.delete(name);
      const created = this.#read(some.map(([name]) => name));
      for (const [index, [name, { settle }]] of some.entries()) {
        settle(created.then((revisions) => this.#arrived(name, revisions[index])));
      }
      await created.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#reading = false;
  }

  /** @returns the revisions that made them, undefined for those that are not there */
  async #read(names: readonly string[]): Promise<(number | undefined)[]> {
    const { store, keys } = this.#options;
    const { rows } = await store.read(names.map((name) => only(keys.host(name))));
    return rows.map(([row]) => row?.created);
  }

  async #arrived(name: string, created: number | undefined): Promise<boolean> {
    const { mirror } = this.#options;
    if (created !== undefined) await mirror.reach(created);
    return mirror.hosts.has(name);
  }
}
