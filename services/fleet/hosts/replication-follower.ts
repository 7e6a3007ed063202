// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { DmadClient } from '../../client/node.ts';
import type { Told } from '../transfers/schema.ts';
import { transferOf } from './replication-told.ts';

/** How soon a host is asked for the first time, and how seldom at last. */
const FIRST_MS = 50;
const MAX_MS = 2000;
const CALL_MS = 5000;
const PAGE = 1000;

/**
 * Asks a host how the fleet's replications on it stand: a daemon's stream of events has none. What
 * has begun a short time ago is asked for more often.
 */
export class ReplicationFollower {
  readonly #client: () => DmadClient | undefined;
  readonly #told: (transfer: Told) => void;
  readonly #closing = new AbortController();
  /** By the host's ids. */
  readonly #followed = new Set<string>();
  #waitMs = FIRST_MS;
  #asking = false;

  constructor(client: () => DmadClient | undefined, told: (transfer: Told) => void) {
    this.#client = client;
    this.#told = told;
  }

  get size(): number {
    return this.#followed.size;
  }

  /** @param hostId the host's id of a replication that has not ended */
  follow(hostId: string): void {
    this.#followed.add(hostId);
    this.#waitMs = FIRST_MS;
    if (!this.#asking) void this.#run();
  }

  /** It has ended, and the fleet knows. */
  forget(hostId: string): void {
    this.#followed.delete(hostId);
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    this.#asking = true;
    while (this.#followed.size > 0 && !signal.aborted) {
      await sleep(this.#waitMs, undefined, { signal }).catch(() => {});
      this.#waitMs = Math.min(2 * this.#waitMs, MAX_MS);
      // Away, or it refuses: probes tell why.
      await this.#ask().catch(() => {});
    }
    this.#asking = false;
  }

  async #ask(): Promise<void> {
    const options = { signal: this.#closing.signal, deadlineMs: CALL_MS, retryForMs: 0 };
    const client = this.#client();
    if (client === undefined) return;
    const missing = new Set(this.#followed);
    const query = { status: 'queued,running', page_size: String(PAGE) };
    for (let token: string | undefined; token !== '' && missing.size > 0; ) {
      const page = await client.listReplications(
        { ...query, ...(token !== undefined && { page_token: token }) },
        options,
      );
      for (const replication of page.replications) {
        if (missing.delete(replication.id)) this.#told(transferOf(replication));
      }
      token = page.next_page_token;
    }
    // They have ended; or the host has forgotten them, which their owner finds out.
    for (const id of missing) {
      const ended = await client.getReplication(id, options).catch(() => undefined);
      if (ended !== undefined) this.#told(transferOf(ended));
    }
  }
}
