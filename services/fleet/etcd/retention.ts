// SPDX-License-Identifier: Apache-2.0
import type { Store } from './store.ts';

const HOUR_MS = 3_600_000;
/** What has ended is kept for 24 h, and for the rest of the hour in which its lease began. */
const KEPT_SECONDS = 25.5 * 3600;

/** Leases that let etcd forget what has ended: one for all that ends in the same hour. */
export class Retention {
  readonly #store: Pick<Store, 'grantLease'>;
  #current: { hour: number; lease: Promise<string> } | undefined;

  constructor(store: Pick<Store, 'grantLease'>) {
    this.#store = store;
  }

  /** etcd does not have the lease, such as after it was restored from a snapshot. */
  forget(): void {
    this.#current = undefined;
  }

  /** @param now milliseconds since 1970 @throws EtcdError */
  lease(now = Date.now()): Promise<string> {
    const hour = Math.floor(now / HOUR_MS);
    if (this.#current?.hour !== hour) {
      const lease = this.#store.grantLease(KEPT_SECONDS);
      const current = { hour, lease };
      this.#current = current;
      lease.catch(() => {
        if (this.#current === current) this.#current = undefined;
      });
    }
    return this.#current.lease;
  }
}
