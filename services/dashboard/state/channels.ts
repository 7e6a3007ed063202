// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { addSample, rateOf, type Sample } from '../model/rate.ts';
import { engines } from './poll.ts';

/** Of each channel; they are asked for every two seconds. */
export const MOST_RATES = 90;

const samples = new Map<string, readonly Sample[]>();

/** The latest rates of each DMA channel, in bytes a second, while somebody looks at the engines. */
export const channelRates = signal<ReadonlyMap<string, readonly number[]>>(new Map());

engines.value.subscribe((known) => {
  const channels = known?.dma.channels ?? [];
  const at = performance.now();
  channelRates.value = new Map(
    channels.map(({ name, bytes }) => {
      const seen = addSample(samples.get(name) ?? [], { at, bytes });
      samples.set(name, seen);
      const before = channelRates.peek().get(name) ?? [];
      return [name, [...before, rateOf(seen, at) ?? 0].slice(-MOST_RATES)];
    }),
  );
});
