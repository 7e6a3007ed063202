// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { type HostConfig, hostRequestSchema, type Seen, seenSchema } from '../hosts/schema.ts';
import {
  type EndedRecord,
  type RunningRecord,
  readEnded,
  readRunning,
} from '../transfers/record.ts';
import { readSettings, type Settings } from '../transfers/settings.ts';
import type { Keys } from './keys.ts';
import type { Change } from './store.ts';

/** A transfer that has not ended. */
export interface Running {
  record: RunningRecord;
  /** The revision that accepted it: those with smaller ones were accepted before. */
  created: number;
}

/** Which gateway owns a host. */
export interface Owner {
  gateway: string;
  /** The revision since which it does: no other one hands over what was accepted later. */
  since: number;
}

/** What changes in the fleet, reported in the order in which it happened. */
export interface MirrorListener {
  hostChanged(name: string): void;
  ownerChanged(host: string): void;
  gatewaysChanged(): void;
  /** A transfer was accepted, or handed over. */
  transferChanged(running: Running): void;
  /**
   * @param before as it was known, if it was
   * @param end undefined if it is not known any more
   */
  transferEnded(id: string, before: Running | undefined, end: EndedRecord | undefined): void;
  cancelRequested(id: string): void;
  /** A client has changed a transfer's settings. */
  settingsChanged(id: string): void;
}

/**
 * Hosts, gateways, owners and transfers that have not ended, as changes in etcd tell of them. Its
 * {@link listener} hears of each change.
 */
export class FleetState {
  readonly hosts = new Map<string, HostConfig>();
  readonly seen = new Map<string, Seen>();
  readonly gateways = new Set<string>();
  readonly owners = new Map<string, Owner>();
  readonly running = new Map<string, Running>();
  readonly #byClient = new Map<string, { transfers: number; segments: number }>();
  #segments = 0;
  readonly #byHost = new Map<string, Map<string, Running>>();
  readonly cancels = new Set<string>();
  /** What clients have changed of transfers, and their hosts do not know yet. */
  readonly changes = new Map<string, Settings>();
  /** Who hears of changes. */
  listener: MirrorListener | undefined;
  readonly #keys: Keys;
  readonly #log: FastifyBaseLogger;

  constructor(keys: Keys, log: FastifyBaseLogger) {
    this.#keys = keys;
    this.#log = log;
  }

  /** Transfers of a host that have not ended, in the order of their acceptance. */
  runningOn(host: string): ReadonlyMap<string, Running> {
    return this.#byHost.get(host) ?? new Map();
  }

  hostsWithTransfers(): Iterable<string> {
    return this.#byHost.keys();
  }

  /** How many transfers of a client have not ended. */
  runningOf(client: string): number {
    return this.#byClient.get(client)?.transfers ?? 0;
  }

  /** How many segments those have together. */
  segmentsOf(client: string): number {
    return this.#byClient.get(client)?.segments ?? 0;
  }

  /** The same of all clients. */
  get segments(): number {
    return this.#segments;
  }

  /** Takes over one change of etcd's. */
  protected apply({ key, value, created }: Change): void {
    const parsed = this.#keys.parse(key);
    if (parsed === undefined) return;
    const { kind, name } = parsed;
    switch (kind) {
      case 'hosts':
        set(this.hosts, name, hostRequestSchema.safeParse(parse(value)).data);
        this.listener?.hostChanged(name);
        break;
      case 'seen':
        set(this.seen, name, seenSchema.safeParse(parse(value)).data);
        break;
      case 'gateways':
        if (value !== undefined && this.gateways.has(name)) break;
        if (value === undefined) this.gateways.delete(name);
        else this.gateways.add(name);
        this.listener?.gatewaysChanged();
        break;
      case 'owners':
        set(
          this.owners,
          name,
          value === undefined ? undefined : { gateway: value, since: created },
        );
        this.listener?.ownerChanged(name);
        break;
      case 'cancels':
        if (value === undefined) this.cancels.delete(name);
        else {
          this.cancels.add(name);
          this.listener?.cancelRequested(name);
        }
        break;
      case 'changes':
        set(this.changes, name, value === undefined ? undefined : readSettings(value));
        if (value !== undefined) this.listener?.settingsChanged(name);
        break;
      case 'transfers': {
        // Its end, if it has one, comes with the other key.
        if (value === undefined) break;
        const record = readRunning(value);
        if (record === undefined)
          this.#log.error({ transfer: name }, 'a record of another version');
        else this.#transferChanged({ record, created });
        break;
      }
      case 'ended':
        // Deleted much later, by etcd.
        if (value === undefined) break;
        this.transferEnded(name, value);
    }
  }

  #transferChanged(running: Running): void {
    const { id, host } = running.record;
    if (!this.running.has(id)) this.#count(running.record, 1);
    this.running.set(id, running);
    let onHost = this.#byHost.get(host);
    if (onHost === undefined) {
      onHost = new Map();
      this.#byHost.set(host, onHost);
    }
    onHost.set(id, running);
    this.listener?.transferChanged(running);
  }

  /** @param value its end as etcd has it; undefined if that is not known any more */
  protected transferEnded(id: string, value: string | undefined): void {
    const running = this.running.get(id);
    if (running !== undefined) {
      const { host } = running.record;
      this.running.delete(id);
      this.#count(running.record, -1);
      const onHost = this.#byHost.get(host);
      onHost?.delete(id);
      if (onHost?.size === 0) this.#byHost.delete(host);
    }
    const end = value === undefined ? undefined : readEnded(value);
    this.listener?.transferEnded(id, running, end);
  }

  #count({ client, request }: RunningRecord, change: 1 | -1): void {
    const transfers = this.runningOf(client) + change;
    const segments = change * (request.segments?.length ?? 0);
    this.#segments += segments;
    const all = { transfers, segments: this.segmentsOf(client) + segments };
    if (transfers > 0) this.#byClient.set(client, all);
    else this.#byClient.delete(client);
  }
}

function set<Value>(map: Map<string, Value>, name: string, value: Value | undefined): void {
  if (value === undefined) map.delete(name);
  else map.set(name, value);
}

function parse(value: string | undefined): unknown {
  try {
    return value === undefined ? undefined : JSON.parse(value);
  } catch {
    return undefined;
  }
}
