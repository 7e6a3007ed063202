// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { isLoopback } from '../../base/host-address.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { RunningRecord } from '../transfers/record.ts';
import type { HostReport } from '../transfers/schema.ts';
import { HostLink } from './host-link.ts';
import { LiveTransfers, Strangers } from './live.ts';

export interface FleetOptions {
  mirror: Mirror;
  log: FastifyBaseLogger;
  /** The token that hosts know the fleet by. */
  token(): string | undefined;
  /** How a host is seen has changed. */
  stateChanged(link: HostLink): void;
  /** A host has reported how one of the fleet's transfers stands. */
  reported(id: string, host: string, transfer: HostReport): void;
  /** Changes of a host's transfers may have been missed. */
  missed(host: string): void;
}

interface Member {
  link: HostLink;
  live: LiveTransfers;
}

/** The hosts, each with this gateway's connection to it. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #hosts = new Map<string, Member>();
  readonly #strangers = new Strangers();
  /** Of hosts that are not in the fleet: it has none. */
  readonly #none = new LiveTransfers('', this.#strangers);
  #closed = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Whether hosts are sent a token. */
  get hasToken(): boolean {
    return this.#options.token() !== undefined;
  }

  link(host: string): HostLink | undefined {
    return this.#hosts.get(host)?.link;
  }

  /** How the fleet's transfers on a host stand. */
  live(host: string): LiveTransfers {
    return this.#hosts.get(host)?.live ?? this.#none;
  }

  /** A host may have a transfer. @returns what it has reported of it already */
  handedOver({ id, host, progress }: RunningRecord): HostReport | undefined {
    if (progress.is !== 'handed_over') return undefined;
    return this.live(host).add(id, progress.hostId);
  }

  /** A host that was asked has reported how a transfer stands. */
  reported(record: RunningRecord, reported: HostReport): void {
    // Once it has ended, nobody would forget it.
    if (!this.#options.mirror.running.has(record.id)) return;
    const progress = { is: 'handed_over', hostId: reported.id } as const;
    const meanwhile = this.handedOver({ ...record, progress });
    // Events that came while the answer was on its way are newer.
    if (meanwhile === undefined) this.live(record.host).reported(reported);
  }

  /** It has ended, and the fleet knows. */
  forget({ id, host }: RunningRecord): void {
    this.live(host).forget(id);
  }

  /** Why a host cannot be reached; undefined if it can, as far as is known. */
  whyAway(host: string): string | undefined {
    return this.link(host)?.away;
  }

  /** Connects to a host that was added or changed; closes what leads to one that was removed. */
  hostChanged(name: string): void {
    // The watch on etcd is closed after this: a connection that it brought would stay open.
    if (this.#closed) return;
    const { mirror, log, token, stateChanged, reported, missed } = this.#options;
    const before = this.#hosts.get(name);
    const config = mirror.hosts.get(name);
    if (config?.url === before?.link.config.url && config?.ca === before?.link.config.ca) return;
    before?.link.close();
    if (config === undefined) {
      this.#hosts.delete(name);
      return;
    }
    const { protocol, hostname } = new URL(config.url);
    if (this.hasToken && protocol === 'http:' && !isLoopback(hostname)) {
      log.warn(
        { host: name },
        "the fleet's token goes over the network in clear: use an https URL",
      );
    }
    const live = before?.live ?? new LiveTransfers(name, this.#strangers);
    const link = new HostLink({
      ...{ name, config, token, stateChanged },
      hosts: () => this.#hosts.size,
      seen: mirror.seen.get(name),
      reported: (transfer) => {
        const id = live.reported(transfer);
        if (id !== undefined) reported(id, name, transfer);
      },
      missed: () => missed(name),
    });
    this.#hosts.set(name, { link, live });
  }

  close(): void {
    this.#closed = true;
    for (const { link } of this.#hosts.values()) link.close();
  }
}
