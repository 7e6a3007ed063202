// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, Registry } from 'prom-client';
import { DAEMON_VERSION } from '../base/version.ts';
import { OPERATIONS } from '../base/vocabulary.ts';
import { ENDS } from '../daemon/transfers/schema.ts';
import { EventLoopWindow } from '../http/metrics/event-loop.ts';
import { PROCESS_METRICS } from '../http/metrics/process.ts';
import { RequestMetrics } from '../http/metrics/requests.ts';
import type { Membership } from './etcd/membership.ts';
import type { Mirror } from './etcd/mirror.ts';
import type { Fleet } from './hosts/fleet.ts';
import { HOST_STATES } from './hosts/schema.ts';
import type { Ownership } from './transfers/ownership.ts';
import type { FleetTransfer } from './transfers/schema.ts';

export interface WatchedFleet {
  mirror: Mirror;
  membership: Membership;
  fleet: Fleet;
  ownership: Ownership;
  /** Transfers that wait for etcd. */
  accepting(): number;
}

/** A gateway's metrics. No label has a value that a client chooses. */
export class FleetMetrics {
  readonly registry = new Registry();
  readonly requests: RequestMetrics;
  readonly #registers = [this.registry];
  readonly #eventLoop: EventLoopWindow;
  readonly #ended = new Counter({
    name: 'dmad_fleet_transfers_total',
    help:
      'Transfers that this gateway has seen end, by operation and how they ended. All gateways see ' +
      'each end. A replication is a copy.',
    labelNames: ['operation', 'status'],
    registers: this.#registers,
  });

  constructor() {
    for (const metric of PROCESS_METRICS) this.registry.registerMetric(metric);
    this.#eventLoop = new EventLoopWindow(this.#registers);
    this.requests = new RequestMetrics(this.#registers);
    // increase() does not see the first event of a series that did not exist before.
    for (const operation of OPERATIONS) {
      for (const status of ENDS) this.#ended.inc({ operation, status }, 0);
    }
    new Gauge({
      name: 'dmad_build_info',
      help: 'Always 1; the labels say what runs.',
      labelNames: ['version', 'node'],
      registers: this.#registers,
    }).set({ version: DAEMON_VERSION, node: process.versions.node }, 1);
  }

  ended({ operation, status }: Pick<FleetTransfer, 'operation' | 'status'>): void {
    this.#ended.inc({ operation, status });
  }

  watch({ mirror, membership, fleet, ownership, accepting }: WatchedFleet): void {
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        ...{ name, help, registers: this.#registers },
        collect() {
          this.set(read());
        },
      });
    gauge('dmad_fleet_transfers_in_flight', 'Transfers that have not ended.', () => {
      return mirror.running.size;
    });
    gauge('dmad_fleet_transfers_accepting', 'Transfers that wait for etcd.', accepting);
    gauge('dmad_fleet_gateways', 'Gateways that live, as this one knows.', () => {
      return mirror.gateways.size;
    });
    gauge('dmad_fleet_hosts_owned', 'Hosts that this gateway hands transfers to.', () => {
      return ownership.count;
    });
    gauge('dmad_fleet_etcd_up', '1 if etcd can be reached and takes writes.', () => {
      return membership.health.is === 'there' ? 1 : 0;
    });
    new Gauge({
      name: 'dmad_fleet_hosts',
      help: 'Hosts, by their state as this gateway sees them.',
      labelNames: ['state'],
      registers: this.#registers,
      collect() {
        for (const state of HOST_STATES) {
          const names = [...mirror.hosts.keys()];
          const stateOf = (name: string) => fleet.link(name)?.seen?.state ?? 'unreachable';
          this.set({ state }, names.filter((name) => stateOf(name) === state).length);
        }
      },
    });
  }

  close(): void {
    this.#eventLoop.stop();
  }
}
