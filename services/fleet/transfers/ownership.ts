// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Store } from '../etcd/store.ts';

const TICK_MS = 1000;
/** How long those wait that come after the gateway that a host falls to. */
const RANK_MS = 300;
/** How long another gateway must be there before hosts are left to it. */
const SETTLED_MS = 10_000;

export interface OwnershipOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  membership: Membership;
  log: FastifyBaseLogger;
  /** This gateway owns the host now. */
  gained(host: string): void;
  /** Resolves once this gateway sends a host nothing more. */
  finish(host: string): Promise<void>;
  /** It does not any more. */
  lost(host: string): void;
}

/**
 * Which hosts are this gateway's. Each host has one owner, so that its transfers are handed over in
 * one order. The owner's key hangs on its lease: if that ends, etcd deletes the key, and whoever
 * creates it next is the owner.
 */
export class Ownership {
  readonly #options: OwnershipOptions;
  /** Since which revision it owns each. */
  readonly #owned = new Map<string, number>();
  /** Those that it is leaving to another gateway, until etcd is seen to say so. */
  readonly #releasing = new Set<string>();
  readonly #claiming = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #gatewaysSince = performance.now();

  constructor(options: OwnershipOptions) {
    this.#options = options;
    // Claims of many hosts may wait for their turn.
    setMaxListeners(0, this.#closing.signal);
    this.#timer = setInterval(() => this.reconcile(), TICK_MS);
  }

  get count(): number {
    return this.#owned.size;
  }

  /** Another gateway has come or gone. */
  gatewaysChanged(): void {
    this.#gatewaysSince = performance.now();
  }

  reconcile(): void {
    const { mirror } = this.#options;
    for (const host of new Set([...mirror.hosts.keys(), ...this.#owned.keys()]))
      this.reconcileHost(host);
  }

  /** Holds what this gateway does for a host against what is in etcd. */
  reconcileHost(host: string): void {
    const { mirror, membership, gained, lost } = this.#options;
    const me = membership.member?.id;
    const owner = mirror.owners.get(host);
    const mine = me !== undefined && owner?.gateway === me && mirror.hosts.has(host);
    if (!mine) this.#releasing.delete(host);
    const since = this.#owned.get(host);
    // If it was another's in between, that one may have handed over anything.
    if (since !== undefined && !(mine && owner.since === since)) {
      this.#owned.delete(host);
      lost(host);
    }
    if (mine && !this.#owned.has(host) && !this.#releasing.has(host)) {
      this.#owned.set(host, owner.since);
      gained(host);
    }
    if (me === undefined || !mirror.current || !mirror.hosts.has(host)) return;
    if (owner === undefined) void this.#claim(host, me);
    else if (mine && this.#fallsToAnother(host, me)) void this.#release(host, me);
  }

  /** Stops owning anything at once. */
  leave(): void {
    for (const host of [...this.#owned.keys()]) {
      this.#owned.delete(host);
      this.#options.lost(host);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closing.abort();
    this.leave();
  }

  async #claim(host: string, me: string): Promise<void> {
    if (this.#claiming.has(host)) return;
    this.#claiming.add(host);
    const { store, keys, mirror, membership, log } = this.#options;
    const { signal } = this.#closing;
    try {
      const wait = this.#rankOf(host, me) * RANK_MS;
      if (wait > 0) await sleep(wait, undefined, { signal });
      const member = membership.member;
      if (member?.id !== me || mirror.owners.has(host)) return;
      await store.write(
        [
          { key: keys.owner(host), is: 'absent' },
          { key: keys.gateway(me), is: 'present' },
          { key: keys.host(host), is: 'present' },
        ],
        [{ put: keys.owner(host), value: me, lease: member.lease }],
      );
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ err: error, host }, 'could not claim a host: trying again');
    } finally {
      this.#claiming.delete(host);
    }
  }

  /** The next owner must not begin while this one still sends. */
  async #release(host: string, me: string): Promise<void> {
    if (this.#releasing.has(host)) return;
    this.#releasing.add(host);
    const { store, keys, log, finish, lost } = this.#options;
    await finish(host);
    if (this.#owned.delete(host)) lost(host);
    const owner = keys.owner(host);
    try {
      await store.write([{ key: owner, is: 'equal', value: me }], [{ delete: owner }]);
    } catch (error) {
      log.warn({ err: error, host }, 'could not leave a host to another gateway');
      this.#releasing.delete(host);
    }
  }

  /** How many gateways a host falls to before this one: so that they share the hosts evenly. */
  #rankOf(host: string, me: string): number {
    const own = weightOf(host, me);
    return [...this.#options.mirror.gateways].filter((each) => weightOf(host, each) > own).length;
  }

  #fallsToAnother(host: string, me: string): boolean {
    if (performance.now() - this.#gatewaysSince < SETTLED_MS) return false;
    return this.#rankOf(host, me) > 0;
  }
}

/** Rendezvous hashing: each host falls to the gateway with the greatest weight. */
function weightOf(host: string, gateway: string): number {
  return createHash('sha256').update(`${gateway} ${host}`).digest().readUInt32BE();
}
