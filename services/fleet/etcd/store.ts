// SPDX-License-Identifier: Apache-2.0

/** What must hold of a key for a transaction to write. */
export type Condition =
  | { key: string; is: 'absent' }
  | { key: string; is: 'present' }
  | { key: string; is: 'equal'; value: string };

export type Write = { put: string; value: string; lease?: string | undefined } | { delete: string };

/** Keys from `from` up to and without `to`, in their order. */
export interface Range {
  from: string;
  to: string;
  limit?: number;
}

export interface Row {
  key: string;
  value: string;
  /** The revision that made the key: of two keys the earlier one has the smaller. */
  created: number;
}

/** What ranges held, all at one revision. */
export interface Snapshot {
  revision: number;
  rows: Row[][];
}

/** A transaction's outcome. */
export interface Written {
  /** Whether all conditions held, and so everything was written. */
  held: boolean;
  revision: number;
}

/** A key that was written, or was deleted if it has no value. */
export interface Change {
  key: string;
  value: string | undefined;
  created: number;
}

/**
 * Why etcd did not do something. `not_done`: it has not happened and will not; `unknown`: it may
 * have happened, or still happen; `full`: etcd has no space left, and nothing was written;
 * `no_lease`: etcd does not have the lease, and nothing was written; `denied`: it does not let this
 * gateway do it, and nothing was written.
 */
export type EtcdFailure = 'not_done' | 'unknown' | 'full' | 'no_lease' | 'denied';

export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly failure: EtcdFailure;

  constructor(failure: EtcdFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** A stream of changes. */
export interface Watch {
  close(): void;
}

export interface WatchListener {
  /** In the order in which they happened. */
  changed(changes: Change[], revision: number): void;
  /** It cannot go on: changes since the last revision are not known any more. */
  lost(error: Error): void;
}

/** What the gateway needs of etcd. */
export interface Store {
  /**
   * Writes all, in one transaction, if all conditions hold.
   *
   * @param options `urgent`: it may be done twice, and a member of etcd that hangs must not delay it
   * @throws EtcdError
   */
  write(
    conditions: readonly Condition[],
    writes: readonly Write[],
    options?: { urgent?: boolean },
  ): Promise<Written>;
  /**
   * Reads ranges as a majority of etcd has them.
   *
   * @param revision as they were then; now if absent
   * @throws EtcdError
   */
  read(ranges: readonly Range[], revision?: number): Promise<Snapshot>;
  /** Follows a range from a revision on. A lost connection is resumed. */
  watch(range: Range, from: number, listener: WatchListener): Watch;
  /** @returns the id of a lease that lasts so many seconds @throws EtcdError */
  grantLease(seconds: number): Promise<string>;
  /** @returns whether there still is such a lease @throws EtcdError */
  keepLease(id: string): Promise<boolean>;
  revokeLease(id: string): Promise<void>;
  close(): void;
}

/** The end of the range of all keys that begin so. */
export function prefixEnd(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}

/** The range of one key. */
export function only(key: string): Range {
  return { from: key, to: `${key}\0` };
}
