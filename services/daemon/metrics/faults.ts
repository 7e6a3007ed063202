// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, type Registry } from 'prom-client';

/** The emulated faults that a scrape reads. */
export interface WatchedFaults {
  readonly size: number;
  /** How many operations met a fault of each kind. */
  readonly struck: Readonly<Record<string, number>>;
}

/** Metrics of a daemon whose devices fail on demand; no other daemon has them. */
export function watchFaults(faults: WatchedFaults, registers: Registry[]): void {
  new Gauge({
    name: 'dmad_emulated_faults',
    help: 'Faults of emulated devices that are set. Only a daemon with DMAD_FAULTS=1 has this.',
    registers,
    collect() {
      this.set(faults.size);
    },
  });
  new Counter({
    name: 'dmad_emulated_faults_struck_total',
    help: 'Operations that met an emulated fault, by its kind.',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(faults.struck)) this.inc({ kind }, count);
    },
  });
}
