// SPDX-License-Identifier: Apache-2.0
/** What runs in a browser as well as in Node: see node.ts for sockets, TLS and client certificates. */
export { type CreateOptions, isOver } from './call-options.ts';
export { DmadClient } from './client.ts';
export type {
  DigestOptions,
  Download,
  DownloadOptions,
  OnProgress,
  UploadBody,
  UploadOptions,
} from './content.ts';
export { crc32c, crc32cText } from './crc32c.ts';
export { type ClientCode, DmadError, replicationError, transferError } from './error.ts';
export type { ReplicationEvent } from './replications.ts';
export type { CallOptions, Fetch, TransportOptions } from './transport.ts';
export type * from './types.ts';
export type { TransferEvent, WatchOptions, WorkEvent } from './work-events.ts';
