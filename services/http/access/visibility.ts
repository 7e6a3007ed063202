// SPDX-License-Identifier: Apache-2.0
import type { Client } from './client.ts';

/** Who looks at transfers, watches them or changes them. */
export type Viewer = Pick<Client, 'name' | 'scopes'>;

/** Whether a client sees everybody's transfers, and whose each of them is. */
export function seesAllTransfers({ scopes }: Viewer): boolean {
  return scopes.has('transfers:all');
}

/**
 * Whether a client sees a transfer: it may then read, watch, change and cancel it. To all others it
 * does not exist. `depends_on` is stricter: it takes only transfers of the client's own.
 *
 * @param owner the name of the client that made the transfer
 */
export function seesTransfersOf(viewer: Viewer, owner: string): boolean {
  return viewer.name === owner || seesAllTransfers(viewer);
}
