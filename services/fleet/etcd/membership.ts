// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Keys } from './keys.ts';
import { EtcdError, type Store } from './store.ts';

/** How long a gateway that dies keeps its hosts, in seconds. */
const LEASE_SECONDS = 4;
/** How much earlier than etcd a gateway takes its lease for lost, for clocks that run apart. */
const MARGIN_MS = 500;
const BEAT_MS = 1000;
const RETRY_MS = 300;
/** etcd3 opens a channel for each login, and closes none: one that is refused is not repeated often. */
const RETRY_REFUSED_MS = 3000;

/** How etcd fares, as far as the gateway knows. */
export type EtcdHealth =
  | { is: 'there' }
  | { is: 'away'; since: number; cause: AwayCause; why: string }
  /** It has no space left: it can be read, not written. */
  | { is: 'full'; since: number };

/**
 * `denied`: its user, password or role are not good enough; `tls`: one of the two does not trust the
 * other's certificate.
 */
export type AwayCause = 'unreachable' | 'denied' | 'tls';

export interface MembershipOptions {
  store: Store;
  keys: Keys;
  log: FastifyBaseLogger;
  /** The gateway is a new member. It owns nothing yet. */
  joined(): void;
  /** Its lease has ended: what it owned may be another's now. */
  left(): void;
  /** The member is about to write its own key. @returns a function to call with the revision of that write */
  beat(): (revision: number) => void;
}

/**
 * This gateway among the others: a lease in etcd, kept alive as long as the gateway lives. Each
 * lease has a name of its own, so that what an earlier one owned cannot be taken for this one's.
 */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #closing = new AbortController();
  #member: { id: string; lease: string } | undefined;
  /** By performance.now(). */
  #validUntil = 0;
  #beats = 0;
  #health: EtcdHealth = {
    ...{ is: 'away', since: Date.now(), cause: 'unreachable', why: 'not connected yet' },
  };
  #logged = '';
  #ended: Promise<void> = Promise.resolve();

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  get health(): EtcdHealth {
    return this.#health;
  }

  /** Its name and lease; undefined while it has none that is certain to last. */
  get member(): { id: string; lease: string } | undefined {
    return performance.now() < this.#validUntil ? this.#member : undefined;
  }

  start(): void {
    this.#ended = this.#run();
  }

  /** Gives the lease back: others take over at once. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
    const member = this.#member;
    this.#leave();
    if (member !== undefined && this.#health.is !== 'away') {
      await this.#options.store.revokeLease(member.lease).catch(() => {});
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      let pause = BEAT_MS;
      try {
        await (this.#member === undefined ? this.#join() : this.#keep(this.#member));
      } catch (error) {
        this.#failed(error as Error);
        // A member would lose its lease meanwhile.
        const refused = this.#member === undefined && causeOf(error as Error) === 'denied';
        pause = refused ? RETRY_REFUSED_MS : RETRY_MS;
      }
      if (this.#member !== undefined && this.member === undefined) {
        this.#options.log.warn('the lease in etcd has ended: other gateways take over');
        const { lease } = this.#member;
        this.#leave();
        void this.#options.store.revokeLease(lease).catch(() => {});
      }
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  async #join(): Promise<void> {
    const { store, log, joined } = this.#options;
    const since = performance.now();
    const lease = await store.grantLease(LEASE_SECONDS);
    const member = { id: randomBytes(6).toString('hex'), lease };
    this.#renewed(since);
    await this.#beat(member);
    this.#member = member;
    log.info({ gateway: member.id }, 'joined the fleet');
    joined();
  }

  async #keep(member: { id: string; lease: string }): Promise<void> {
    const since = performance.now();
    const kept = await this.#options.store.keepLease(member.lease);
    // Once it has lapsed here, what was begun under it was given up: it cannot count again.
    if (kept && this.member !== undefined) {
      this.#renewed(since);
      await this.#beat(member);
    } else {
      this.#validUntil = 0;
    }
  }

  /** Writes its key: that shows whether etcd takes writes, and whether the watch sees them. */
  async #beat({ id, lease }: { id: string; lease: string }): Promise<void> {
    const { store, keys, beat } = this.#options;
    const written = beat();
    const value = JSON.stringify({ beats: ++this.#beats });
    const writes = [{ put: keys.gateway(id), value, lease }];
    const { revision } = await store.write([], writes, { urgent: true });
    this.#changed({ is: 'there' });
    written(revision);
  }

  #renewed(since: number): void {
    this.#validUntil = since + LEASE_SECONDS * 1000 - MARGIN_MS;
  }

  #failed(error: Error): void {
    const before = this.#health;
    if (error instanceof EtcdError && error.failure === 'full') {
      this.#changed(before.is === 'full' ? before : { is: 'full', since: Date.now() }, error);
    } else {
      this.#changed(awayBy(error, before), error);
    }
  }

  #changed(health: EtcdHealth, error?: Error): void {
    this.#health = health;
    const line = describe(health);
    if (line === this.#logged) return;
    this.#logged = line;
    if (error === undefined) this.#options.log.info(line);
    else this.#options.log.error({ err: error }, line);
  }

  #leave(): void {
    if (this.#member === undefined) return;
    this.#member = undefined;
    this.#validUntil = 0;
    this.#options.left();
  }
}

/** What OpenSSL and Node say of certificates. */
const TLS = /certificate|self[- ]signed|alert|SSL routines|EPROTO|altnames/i;

/** gRPC does not say again why it does not connect while it waits to try again. */
const NO_NEWS = /Last error: null/;

function awayBy(error: Error, before: EtcdHealth): EtcdHealth {
  const { message } = error;
  if (before.is !== 'away') {
    return { is: 'away', since: Date.now(), cause: causeOf(error), why: message };
  }
  return NO_NEWS.test(message) ? before : { ...before, cause: causeOf(error), why: message };
}

function causeOf(error: Error): AwayCause {
  if (error instanceof EtcdError && error.failure === 'denied') return 'denied';
  return TLS.test(error.message) ? 'tls' : 'unreachable';
}

/** For the log and for probes: it names no URL, user or host. */
export function describe(health: EtcdHealth): string {
  switch (health.is) {
    case 'there':
      return 'etcd: it takes writes';
    case 'full':
      return 'etcd: no space left (alarm NOSPACE)';
    case 'away':
      return AWAY[health.cause];
  }
}

const AWAY: Record<AwayCause, string> = {
  unreachable: 'etcd: it cannot be reached',
  denied: "etcd: it refuses the gateway's user, password or role",
  tls: 'etcd: no TLS connection, for want of a certificate that both sides trust',
};
