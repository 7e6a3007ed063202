// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, type Registry } from 'prom-client';
import type { DmaEngine } from '../engines/dma.ts';
import { CHANNEL_STATES, type Channel } from '../engines/records.ts';

/** Passes on what the kernel module counts of each DMA channel, whenever it is scraped. */
export function watchChannels(dma: DmaEngine, registers: Registry[]): void {
  const each = (visit: (channel: Channel) => void) => {
    for (const channel of dma.channels()) visit(channel);
  };
  new Counter({
    name: 'dmad_channel_bytes_total',
    help: 'Bytes that each DMA channel copied.',
    labelNames: ['channel'],
    registers,
    collect() {
      this.reset();
      each(({ name, bytes }) => this.inc({ channel: name }, bytes));
    },
  });
  new Counter({
    name: 'dmad_channel_operations_total',
    help: 'Operations that each DMA channel did.',
    labelNames: ['channel'],
    registers,
    collect() {
      this.reset();
      each(({ name, operations }) => this.inc({ channel: name }, operations));
    },
  });
  new Counter({
    name: 'dmad_channel_errors_total',
    help: 'Errors of each DMA channel, by kind.',
    labelNames: ['channel', 'kind'],
    registers,
    collect() {
      this.reset();
      each(({ name, errors }) => {
        for (const [kind, count] of Object.entries(errors)) {
          this.inc({ channel: name, kind }, count);
        }
      });
    },
  });
  new Counter({
    name: 'dmad_channel_recoveries_total',
    help: 'Times that each DMA channel came back after trouble.',
    labelNames: ['channel'],
    registers,
    collect() {
      this.reset();
      each(({ name, recoveries }) => this.inc({ channel: name }, recoveries));
    },
  });
  new Gauge({
    name: 'dmad_channel_in_flight',
    help: 'Operations that the hardware of each DMA channel has now.',
    labelNames: ['channel'],
    registers,
    collect() {
      this.reset();
      each(({ name, inFlight }) => this.set({ channel: name }, inFlight));
    },
  });
  new Gauge({
    name: 'dmad_channel_state',
    help: '1 for the state that each DMA channel is in.',
    labelNames: ['channel', 'state'],
    registers,
    collect() {
      this.reset();
      each(({ name, state }) => {
        for (const each of CHANNEL_STATES) {
          this.set({ channel: name, state: each }, each === state ? 1 : 0);
        }
      });
    },
  });
}
