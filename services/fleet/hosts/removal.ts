// SPDX-License-Identifier: Apache-2.0
import { Problem } from '../../http/problems/problem.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Store } from '../etcd/store.ts';
import { etcdUnavailable, refusedByEtcd } from '../transfers/acceptance.ts';

/** If this gateway dies meanwhile, transfers are accepted for the host again after so long. */
const LEAVING_SECONDS = 10;

export interface RemovalOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
}

/**
 * Removes a host unless transfers of it have not ended. While it is found out, no gateway accepts
 * transfers for it, so that none is lost that was accepted in the same moment.
 *
 * @throws Problem host_in_use, etcd_unavailable
 */
export async function removeIdleHost(
  { store, keys, mirror }: RemovalOptions,
  host: string,
): Promise<void> {
  checkIdle(mirror, host);
  const leaving = keys.leaving(host);
  let lease: string | undefined;
  try {
    lease = await store.grantLease(LEAVING_SECONDS);
    const { revision } = await store.write([], [{ put: leaving, value: lease, lease }]);
    await mirror.reach(revision);
    checkIdle(mirror, host);
    const { held } = await store.write(
      [{ key: leaving, is: 'equal', value: lease }],
      [{ delete: keys.host(host) }, { delete: keys.seen(host) }, { delete: leaving }],
    );
    // Another request removes it too, or it took too long.
    if (!held) throw etcdUnavailable();
  } catch (error) {
    throw error instanceof Problem ? error : refusedByEtcd(error);
  } finally {
    // The mark goes with it.
    if (lease !== undefined) void store.revokeLease(lease).catch(() => {});
  }
}

function checkIdle(mirror: Mirror, host: string): void {
  const { size } = mirror.runningOn(host);
  if (size === 0) return;
  const detail = `${size} transfers of the host have not ended: wait, cancel them, or send ?abandon=true.`;
  throw new Problem('host_in_use', detail);
}
