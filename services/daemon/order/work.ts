// SPDX-License-Identifier: Apache-2.0

/** What waits for its turn. */
export interface Work {
  kind: 'transfer' | 'upload' | 'calibration' | 'replication';
  /** Of a transfer, or a replication. */
  id?: string | undefined;
  /** Whose it is, by name. */
  client: string;
  /** Its turn has come. */
  start(): void;
}
