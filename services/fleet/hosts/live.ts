// SPDX-License-Identifier: Apache-2.0
import { type HostReport, isEnd } from '../transfers/schema.ts';

/** How many transfers are remembered that are not known to be the fleet's, of all hosts. */
const MAX_STRANGERS = 10_000;

/** Transfers whose events were faster than their records in etcd; or that are not the fleet's. */
export class Strangers {
  /** The oldest first. */
  readonly #documents = new Map<string, HostReport>();

  get size(): number {
    return this.#documents.size;
  }

  keep(host: string, transfer: HostReport): void {
    const key = keyOf(host, transfer.id);
    this.#documents.delete(key);
    this.#documents.set(key, transfer);
    if (this.#documents.size <= MAX_STRANGERS) return;
    const [oldest = ''] = this.#documents.keys();
    this.#documents.delete(oldest);
  }

  take(host: string, hostId: string): HostReport | undefined {
    const key = keyOf(host, hostId);
    const transfer = this.#documents.get(key);
    this.#documents.delete(key);
    return transfer;
  }
}

function keyOf(host: string, hostId: string): string {
  return `${host} ${hostId}`;
}

/** How the fleet's transfers on one host stand, by what the host reported last. */
export class LiveTransfers {
  /** The fleet's ids, by the host's. */
  readonly #ids = new Map<string, string>();
  /** The host's ids, by the fleet's. */
  readonly #hostIds = new Map<string, string>();
  readonly #documents = new Map<string, HostReport>();
  readonly #host: string;
  readonly #strangers: Strangers;

  constructor(host: string, strangers: Strangers) {
    this.#host = host;
    this.#strangers = strangers;
  }

  get(id: string): HostReport | undefined {
    return this.#documents.get(id);
  }

  /** The host's id of a transfer is known. @returns what the host has reported of it already */
  add(id: string, hostId: string): HostReport | undefined {
    if (this.#ids.has(hostId)) return undefined;
    this.#ids.set(hostId, id);
    this.#hostIds.set(id, hostId);
    const reported = this.#strangers.take(this.#host, hostId);
    if (reported !== undefined) this.#documents.set(id, reported);
    return reported;
  }

  /**
   * The host has reported how one of its transfers stands. Keeps the report, without its segments: the
   * record has them, and they can be many.
   *
   * @returns the fleet's id, if it is known
   */
  reported(transfer: HostReport): string | undefined {
    transfer.segments = null;
    const id = this.#ids.get(transfer.id);
    if (id !== undefined) {
      // An answer that was on its way can be older than the event of the end.
      const known = this.#documents.get(id);
      if (known === undefined || !isEnd(known.status) || isEnd(transfer.status)) {
        this.#documents.set(id, transfer);
      }
      return id;
    }
    this.#strangers.keep(this.#host, transfer);
    return undefined;
  }

  /** It has ended, and the fleet knows. */
  forget(id: string): void {
    const hostId = this.#hostIds.get(id);
    if (hostId !== undefined) this.#ids.delete(hostId);
    this.#hostIds.delete(id);
    this.#documents.delete(id);
  }

  /** How many of the fleet's transfers it knows. */
  get size(): number {
    return this.#ids.size;
  }
}
