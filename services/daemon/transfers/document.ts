// SPDX-License-Identifier: Apache-2.0
import { seesAllTransfers, type Viewer } from '../access/visibility.ts';
import type { TransferDocument } from './schema.ts';
import type { Transfer } from './transfer.ts';

/** A transfer as a client that may see it sees it: whose it is only if it sees everybody's. */
export function documentFor(viewer: Viewer, transfer: Transfer): TransferDocument {
  const document = transfer.toJSON();
  return seesAllTransfers(viewer) ? { ...document, client: transfer.origin.client } : document;
}
