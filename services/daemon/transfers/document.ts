// SPDX-License-Identifier: Apache-2.0
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import type { BasicTransferDocument, TransferDocument } from './schema.ts';
import type { Transfer } from './transfer.ts';

/** A transfer as a client that may see it sees it: whose it is only if it sees everybody's. */
export function documentFor(viewer: Viewer, transfer: Transfer): TransferDocument {
  return Object.assign(transfer.toJSON(), ownerFor(viewer, transfer));
}

/** The same without segments and timings. */
export function basicDocumentFor(viewer: Viewer, transfer: Transfer): BasicTransferDocument {
  return Object.assign(transfer.basic(), ownerFor(viewer, transfer));
}

function ownerFor(viewer: Viewer, { origin: { client } }: Transfer) {
  return seesAllTransfers(viewer) ? { client } : undefined;
}
