// SPDX-License-Identifier: Apache-2.0
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Store } from '../etcd/store.ts';
import type { HostLink } from './host-link.ts';

export interface SeenWriterOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  membership: Membership;
}

/**
 * Keeps in etcd how a host's owner saw it last, so that a gateway that starts while the host is away
 * knows its devices.
 */
export class SeenWriter {
  readonly #options: SeenWriterOptions;

  constructor(options: SeenWriterOptions) {
    this.#options = options;
  }

  changed({ name, seen }: HostLink): void {
    const { store, keys, mirror, membership } = this.#options;
    const me = membership.member?.id;
    if (seen === undefined || me === undefined || mirror.owners.get(name)?.gateway !== me) return;
    store
      .write(
        [
          { key: keys.owner(name), is: 'equal', value: me },
          { key: keys.host(name), is: 'present' },
        ],
        [{ put: keys.seen(name), value: JSON.stringify(seen) }],
      )
      // The next change writes it.
      .catch(() => {});
  }
}
