// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Device, Inventory } from '../devices/device.ts';
import { ENDS, type End } from '../transfers/schema.ts';

/** A replication that has ended. */
interface Ended {
  outcome: { status: End } | undefined;
  progress: { equal: number; copied: { count: number }; again: number };
}

/** What a scrape reads. */
export interface WatchedReplications {
  readonly running: { all: number; awaitingPeer: number };
  readonly inconsistent: { bytesOf(device: Device): number };
}

/** Metrics of replications from other hosts. */
export class ReplicationMetrics {
  readonly #ended: Counter;
  readonly #blocks: Counter;
  readonly #received: Counter;

  constructor(registers: Registry[]) {
    this.#ended = new Counter({
      name: 'dmad_replications_total',
      help: 'Replications that have ended, by how they ended.',
      labelNames: ['status'],
      registers,
    });
    this.#blocks = new Counter({
      name: 'dmad_replication_blocks_total',
      help: 'Blocks of replications that have ended: found equal, copied, and copied again.',
      labelNames: ['outcome'],
      registers,
    });
    this.#received = new Counter({
      name: 'dmad_replication_received_bytes_total',
      help: 'Bytes that peers have sent for replications: content and digests.',
      registers,
    });
    for (const status of ENDS) this.#ended.inc({ status }, 0);
    for (const outcome of ['equal', 'copied', 'again']) this.#blocks.inc({ outcome }, 0);
  }

  received(bytes: number): void {
    this.#received.inc(bytes);
  }

  finished({ outcome, progress: { equal, copied, again } }: Ended): void {
    if (outcome !== undefined) this.#ended.inc({ status: outcome.status });
    this.#blocks.inc({ outcome: 'equal' }, equal);
    this.#blocks.inc({ outcome: 'copied' }, copied.count);
    this.#blocks.inc({ outcome: 'again' }, again);
  }

  watch(replications: WatchedReplications, inventory: Inventory, registers: Registry[]): void {
    new Gauge({
      name: 'dmad_replications_in_flight',
      help: 'Replications that are running.',
      registers,
      collect() {
        this.set(replications.running.all);
      },
    });
    new Gauge({
      name: 'dmad_replications_waiting_for_peer',
      help: 'Replications that are running, and whose peer does not answer.',
      registers,
      collect() {
        this.set(replications.running.awaitingPeer);
      },
    });
    new Gauge({
      name: 'dmad_device_inconsistent_bytes',
      help: 'Bytes of each device that a replication has begun to write and has not proven.',
      labelNames: ['device'],
      registers,
      collect() {
        for (const device of inventory.list()) {
          this.set({ device: device.name }, replications.inconsistent.bytesOf(device));
        }
      },
    });
  }
}
