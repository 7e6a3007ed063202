// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, type Registry } from 'prom-client';
import type { LogHealth } from '../../base/log.ts';

/** Reports the log's losses and its backlog at each scrape. */
export function watchLog(log: LogHealth, registers: Registry[]): void {
  new Counter({
    name: 'dmad_log_lines_lost_total',
    help: 'Lines that were lost because the log could not be written, by log.',
    labelNames: ['log'],
    registers,
    collect() {
      this.reset();
      for (const [name, lost] of Object.entries(log.lost)) this.inc({ log: name }, lost);
    },
  });
  new Gauge({
    name: 'dmad_log_waiting_bytes',
    help: 'Bytes of the log that are not written yet.',
    registers,
    collect() {
      this.set(log.waiting);
    },
  });
}
