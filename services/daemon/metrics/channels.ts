// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, type Registry } from 'prom-client';
import type { DmaEngine } from '../engines/dma.ts';
import { CHANNEL_STATES, type Channel } from '../engines/records.ts';

/** A metric of each DMA channel, and its values: one, or one for each label. */
interface ChannelMetric {
  Kind: typeof Counter<string> | typeof Gauge<string>;
  name: string;
  help: string;
  /** A label beside the channel's name. */
  label?: string;
  values(channel: Channel): [label: string, value: number][];
}

const CHANNEL_METRICS: readonly ChannelMetric[] = [
  {
    Kind: Counter,
    name: 'dmad_channel_bytes_total',
    help: 'Bytes that each DMA channel copied.',
    values: ({ bytes }) => [['', bytes]],
  },
  {
    Kind: Counter,
    name: 'dmad_channel_operations_total',
    help: 'Operations that each DMA channel did.',
    values: ({ operations }) => [['', operations]],
  },
  {
    Kind: Counter,
    name: 'dmad_channel_errors_total',
    help: 'Errors of each DMA channel, by kind.',
    label: 'kind',
    values: ({ errors }) => Object.entries(errors),
  },
  {
    Kind: Counter,
    name: 'dmad_channel_recoveries_total',
    help: 'Times that each DMA channel came back after trouble.',
    values: ({ recoveries }) => [['', recoveries]],
  },
  {
    Kind: Gauge,
    name: 'dmad_channel_in_flight',
    help: 'Operations that the hardware of each DMA channel has now.',
    values: ({ inFlight }) => [['', inFlight]],
  },
  {
    Kind: Gauge,
    name: 'dmad_channel_state',
    help: '1 for the state that each DMA channel is in.',
    label: 'state',
    values: ({ state }) => CHANNEL_STATES.map((each) => [each, each === state ? 1 : 0]),
  },
];

/** Reports at each scrape what the kernel module counts of each DMA channel. */
export function watchChannels(dma: DmaEngine, registers: Registry[]): void {
  const channels = onceAScrape(() => dma.channels());
  for (const { Kind, name, help, label, values } of CHANNEL_METRICS) {
    const labelNames = label === undefined ? ['channel'] : ['channel', label];
    new Kind({
      ...{ name, help, labelNames, registers },
      collect(this: Counter<string> | Gauge<string>) {
        this.reset();
        for (const channel of channels()) {
          for (const [of, value] of values(channel)) {
            this.inc({ channel: channel.name, ...(label !== undefined && { [label]: of }) }, value);
          }
        }
      },
    });
  }
}

/** A scrape collects all metrics in one turn, so one reading serves all of them. */
function onceAScrape<Result>(read: () => Result): () => Result {
  let result: Result | undefined;
  return () => {
    if (result === undefined) {
      result = read();
      queueMicrotask(() => {
        result = undefined;
      });
    }
    return result;
  };
}
