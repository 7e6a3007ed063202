// SPDX-License-Identifier: Apache-2.0

import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Agent, type Dispatcher, request } from 'undici';
import { type ConnectedClient, connect, DmadError } from '../../client/node.ts';
import { retryLater } from '../../http/problems/problem.ts';
import type { HostReport } from '../transfers/schema.ts';
import { transferOf } from './replication-report.ts';
import type { HostConfig, Seen } from './schema.ts';

const PROBE_MS = 2000;
/** A gateway of many hosts asks each of them less often: a hundred a second take it 6 % of a CPU. */
const PROBE_MS_A_HOST = 10;
const PROBE_DEADLINE_MS = 3000;
/** Between two probes that clients have caused, who may name devices that do not exist. */
const REFRESH_MS = 200;
/** Devices come and go seldom: they are asked for with every so many probes. */
const PROBES_A_LOOK = 5;
const STREAM_RETRY_MS = 500;

export interface HostLinkOptions {
  name: string;
  config: HostConfig;
  token: () => string | undefined;
  /** How many hosts this gateway probes. */
  hosts: () => number;
  /** What was seen of it before; undefined if nothing was. */
  seen: Seen | undefined;
  /** Something but the time differs from what was seen before. */
  stateChanged(link: HostLink): void;
  /** A transfer or a replication of the host's changed. */
  reported(transfer: HostReport): void;
  /** Changes may have been missed. */
  missed(): void;
}

/** A host's daemon as this gateway sees it: probes, and one stream of events of all its work. */
export class HostLink {
  readonly name: string;
  readonly config: HostConfig;
  readonly client: ConnectedClient;
  /** For content: a checksum, or an upload that waits for its turn, is answered when it is done. */
  readonly #agent: Agent;
  readonly #options: HostLinkOptions;
  readonly #closing = new AbortController();
  #seen: Seen | undefined;
  /** Whether this gateway has probed it itself. */
  #probed = false;
  /** By performance.now(). */
  #refreshedAt = Number.NEGATIVE_INFINITY;
  /** A probe that a client waits for, before it has begun. */
  #refreshing: Promise<void> | undefined;

  constructor(options: HostLinkOptions) {
    this.#options = options;
    this.name = options.name;
    this.config = options.config;
    this.#seen = options.seen;
    const { url, ca } = options.config;
    this.client = connect({
      ...{ url, token: options.token, retryForMs: 0 },
      ...(ca !== undefined && { tls: { ca } }),
    });
    this.#agent = new Agent({
      ...{ headersTimeout: 0, bodyTimeout: 0 },
      ...(ca !== undefined && { connect: { ca } }),
    });
    void this.#probe();
    void this.#follow();
  }

  /** How it was seen last; undefined if it never was. */
  get seen(): Seen | undefined {
    return this.#seen;
  }

  /** Why it cannot be reached just now; undefined if it can, as far as is known. */
  get away(): string | undefined {
    if (this.#seen?.state !== 'unreachable') return undefined;
    return this.#seen.reason ?? 'it does not answer';
  }

  /** @throws Problem host_unreachable if it cannot be reached just now, as far as is known */
  checkReachable(): void {
    const { name, away } = this;
    if (away === undefined) return;
    throw retryLater('host_unreachable', `Host ${name} cannot be reached: ${away}`, 2);
  }

  /** Whether what is seen is this gateway's own view. */
  get probed(): boolean {
    return this.#probed;
  }

  /** A device as it was seen last. */
  seenDevice(name: string): Seen['devices'][number] | undefined {
    return this.#seen?.devices.find((device) => device.name === name);
  }

  /** A device; before there is said to be none, the host is asked, unless it is away. */
  async device(name: string): Promise<Seen['devices'][number] | undefined> {
    if (this.seenDevice(name) === undefined && this.away === undefined) await this.refresh();
    return this.seenDevice(name);
  }

  /** Probes the host, devices too, soon after it is called. */
  refresh(): Promise<void> {
    const { signal } = this.#closing;
    this.#refreshing ??= (async () => {
      const pauseMs = this.#refreshedAt + REFRESH_MS - performance.now();
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => {});
      this.#refreshing = undefined;
      this.#refreshedAt = performance.now();
      await this.#update(true);
    })();
    return this.#refreshing;
  }

  close(): void {
    this.#closing.abort();
    void this.client.destroy();
    void this.#agent.destroy();
  }

  /** A request to the host as it is. @param path with its query */
  request({
    path,
    headers,
    ...options
  }: {
    method: Dispatcher.HttpMethod;
    path: string;
    headers: Record<string, string>;
    body?: Readable;
    signal: AbortSignal;
  }): Promise<Dispatcher.ResponseData> {
    const token = this.#options.token();
    return request(`${this.config.url}${path}`, {
      ...options,
      headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      dispatcher: this.#agent,
    });
  }

  async #probe(): Promise<void> {
    const { signal } = this.#closing;
    for (let count = 0; !signal.aborted; count++) {
      const look = count % PROBES_A_LOOK === 0 || this.#seen?.state === 'unreachable';
      await this.#update(look);
      if (signal.aborted) return;
      const pauseMs = Math.max(PROBE_MS, this.#options.hosts() * PROBE_MS_A_HOST);
      // Not all gateways and hosts at the same moment.
      await sleep(pauseMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {});
    }
  }

  /** @param whole whether to ask for devices too */
  async #update(whole: boolean): Promise<void> {
    const now = await this.#look(whole);
    if (this.#closing.signal.aborted) return;
    const before = this.#seen;
    const since = before?.state === now.state ? before.since : new Date().toISOString();
    this.#seen = { ...now, since };
    this.#probed = true;
    if (!isDeepStrictEqual(before, this.#seen)) this.#options.stateChanged(this);
  }

  async #look(whole: boolean): Promise<Omit<Seen, 'since'>> {
    const options = { signal: this.#closing.signal, deadlineMs: PROBE_DEADLINE_MS };
    let { devices = [], dma = false } = this.#seen ?? {};
    try {
      const { ready, waiting_for, degraded = [] } = await this.client.isReady(options);
      if (whole) {
        devices = await this.client.listDevices(options);
        dma = (await this.client.listEngines(options)).dma.available;
      }
      const lacks = [...waiting_for, ...degraded];
      return {
        state: ready && lacks.length === 0 ? 'ready' : 'degraded',
        reason: lacks.length === 0 ? null : lacks.join(', '),
        ...{ devices, dma },
      };
    } catch (error) {
      const reason = (error as Error).message;
      const answered = error instanceof DmadError && error.status !== 0;
      return { state: answered ? 'degraded' : 'unreachable', reason, devices, dma };
    }
  }

  /** Follows all transfers and replications of the host, whatever happens to the connection. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    const { reported, missed } = this.#options;
    while (!signal.aborted) {
      try {
        const options = { signal, onSnapshot: missed, retryForMs: Number.POSITIVE_INFINITY };
        missed();
        for await (const event of this.client.watchWork({}, options)) {
          reported('transfer' in event ? event.transfer : transferOf(event.replication));
        }
      } catch {
        // Refused, such as for its token: probes tell why.
      }
      await sleep(STREAM_RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
}
