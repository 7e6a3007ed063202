// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import { Problem } from '../../http/problems/problem.ts';
import type { MirrorListener, Running } from '../etcd/fleet-state.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Mirror } from '../etcd/mirror.ts';
import { only, type Store } from '../etcd/store.ts';
import type { Fleet } from '../hosts/fleet.ts';
import { Courier } from './courier.ts';
import { endByFleet } from './document.ts';
import type { Ends } from './ends.ts';
import type { Feed } from './feed.ts';
import type { OwnerWrites } from './owner-writes.ts';
import type { Ownership } from './ownership.ts';
import { type EndedRecord, readEnded } from './record.ts';
import type { HostReport } from './schema.ts';
import type { View } from './views.ts';

const RETRY_MS = 500;

export interface DispatchOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  fleet: Fleet;
  ends: Ends;
  feed: Feed;
  writes: OwnerWrites;
  log: FastifyBaseLogger;
  viewOf(running: Running): View;
  ended(record: EndedRecord): void;
  /** A transfer is in the mirror, or was and has ended. */
  seen(id: string): void;
}

/** Brings what happens in etcd and on hosts to whoever has to act upon it. */
export class Dispatch implements MirrorListener {
  /** Set once it is made: the two need each other. */
  ownership: Ownership | undefined;
  readonly #options: DispatchOptions;
  readonly #couriers = new Map<string, Courier>();
  /** Those whose host was removed, and whose end is being written. */
  readonly #abandoning = new Set<string>();

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  /** Why a host's courier gets nowhere; undefined if this gateway has none, or it does. */
  troubleOf(host: string): string | undefined {
    return this.#couriers.get(host)?.trouble;
  }

  // What happens in etcd.

  hostChanged(name: string): void {
    this.#options.fleet.hostChanged(name);
    this.ownership?.reconcileHost(name);
  }

  ownerChanged(host: string): void {
    this.ownership?.reconcileHost(host);
  }

  gatewaysChanged(): void {
    this.ownership?.gatewaysChanged();
  }

  transferChanged(running: Running): void {
    const { fleet, mirror } = this.#options;
    const { id, host } = running.record;
    this.#options.seen(id);
    const reported = fleet.handedOver(running.record);
    const courier = this.#couriers.get(host);
    const owner = mirror.owners.get(host);
    courier?.add(running, owner !== undefined && running.created > owner.since);
    if (mirror.cancels.has(id)) courier?.cancel(id);
    if (reported !== undefined) courier?.reported(id, reported);
    this.#tell(running);
  }

  transferEnded(id: string, before: Running | undefined, end: EndedRecord | undefined): void {
    const { fleet, ends, feed } = this.#options;
    if (before !== undefined) {
      const { host } = before.record;
      fleet.forget(before.record);
      this.#couriers.get(host)?.forget(id);
    }
    this.#options.seen(id);
    this.#abandoning.delete(id);
    ends.ended(id, end);
    if (end !== undefined) {
      this.#options.ended(end);
      if (feed.watchers > 0) feed.changed(end.client, end.document, true);
    }
    feed.forget(id);
  }

  cancelRequested(id: string): void {
    const running = this.#options.mirror.running.get(id);
    if (running !== undefined) this.#couriers.get(running.record.host)?.cancel(id);
  }

  settingsChanged(id: string): void {
    const running = this.#options.mirror.running.get(id);
    if (running === undefined) return;
    this.#couriers.get(running.record.host)?.change(id);
    this.#tell(running);
  }

  // What happens on hosts.

  reported(id: string, host: string, transfer: HostReport): void {
    this.#couriers.get(host)?.reported(id, transfer);
    const running = this.#options.mirror.running.get(id);
    if (running !== undefined) this.#tell(running);
  }

  missed(host: string): void {
    this.#couriers.get(host)?.missed();
  }

  reachable(host: string): void {
    this.#couriers.get(host)?.wake();
  }

  // What this gateway owns.

  gained(host: string): void {
    const { mirror, fleet, writes, log } = this.#options;
    log.info({ host, transfers: mirror.runningOn(host).size }, 'owns a host');
    const courier = new Courier({
      ...{ host, writes },
      client: () => fleet.link(host)?.client,
      live: (id) => fleet.live(host).get(id),
      settings: (id) => mirror.changes.get(id),
      owned: () => writes.isMember,
      handedOver: (record, reported) => fleet.reported(record, reported),
      dependencies: (ids, signal) => this.#dependencies(ids, signal),
      lost: () => this.ownership?.reconcileHost(host),
    });
    this.#couriers.set(host, courier);
    for (const running of mirror.runningOn(host).values()) {
      courier.add(running, false);
      if (mirror.cancels.has(running.record.id)) courier.cancel(running.record.id);
    }
  }

  /** Resolves once nothing is being handed over any more, and nothing will be. */
  async finish(host: string): Promise<void> {
    await this.#couriers.get(host)?.finish();
  }

  lost(host: string): void {
    this.#options.log.info({ host }, 'does not own a host any more');
    this.#couriers.get(host)?.stop();
    this.#couriers.delete(host);
  }

  /** Ends what was accepted for hosts that were removed since. */
  abandon(): void {
    const { mirror, writes, fleet } = this.#options;
    if (!mirror.current) return;
    for (const host of mirror.hostsWithTransfers()) {
      if (mirror.hosts.has(host)) continue;
      for (const { record } of mirror.runningOn(host).values()) {
        if (this.#abandoning.has(record.id)) continue;
        this.#abandoning.add(record.id);
        const detail = `Host ${host} was removed from the fleet, so how the transfer ended is not known.`;
        const problem = new Problem('interrupted', detail);
        const live = fleet.live(host).get(record.id);
        void writes
          .abandoned(record, endByFleet(record, { live }, 'interrupted', problem))
          .then((written) => written || this.#abandoning.delete(record.id));
      }
    }
  }

  #tell(running: Running): void {
    const { feed, viewOf } = this.#options;
    if (feed.watchers === 0) return;
    const { owner, document } = viewOf(running);
    feed.changed(owner, document, false);
  }

  async #dependencies(
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<'succeeded' | 'failed'> {
    for (const id of ids) {
      const end = await this.#endOf(id, signal);
      if (end?.document.status !== 'succeeded') return 'failed';
    }
    return 'succeeded';
  }

  /** Waits for a transfer's end. @returns undefined if it is not known */
  async #endOf(id: string, signal: AbortSignal): Promise<EndedRecord | undefined> {
    const { ends, mirror, store, keys } = this.#options;
    signal.throwIfAborted();
    let stop = () => {};
    const ended = new Promise<EndedRecord | undefined>((resolve, reject) => {
      const forget = ends.await(id, resolve);
      const abort = () => reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      stop = () => {
        forget();
        signal.removeEventListener('abort', abort);
      };
    });
    ended.catch(() => {});
    try {
      while (!mirror.running.has(id)) {
        signal.throwIfAborted();
        const read = await store
          .read([only(keys.ended(id)), only(keys.transfer(id))])
          .catch(() => undefined);
        const [[row] = [], running = []] = read?.rows ?? [];
        if (row !== undefined) return readEnded(row.value);
        if (read !== undefined && running.length > 0) break;
        if (read !== undefined) return undefined;
        await sleep(RETRY_MS, undefined, { signal });
      }
      return await ended;
    } finally {
      stop();
    }
  }
}
