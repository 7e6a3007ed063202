// SPDX-License-Identifier: Apache-2.0
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Gauge, type Registry } from 'prom-client';

const RESOLUTION_MS = 10;
/** A scraper that reads at least this often misses nothing. */
const SCRAPE_INTERVAL_MS = 60_000;

/** The names are those of prom-client's own collector, which resets whenever it is read. */
const LAGS: readonly [name: string, what: string, read: (h: IntervalHistogram) => number][] = [
  ['min', 'least', ({ min }) => min],
  ['max', 'greatest', ({ max }) => max],
  ['mean', 'mean', ({ mean }) => mean],
  ['p50', '50th percentile of the', (h) => h.percentile(50)],
  ['p90', '90th percentile of the', (h) => h.percentile(90)],
  ['p99', '99th percentile of the', (h) => h.percentile(99)],
];

/**
 * The event loop's delay over the last one to two minutes. Reading it resets nothing, so each scraper
 * sees all of it.
 */
export class EventLoopWindow {
  #current = monitor();
  #next = monitor();
  readonly #timer = setInterval(() => this.#turn(), SCRAPE_INTERVAL_MS);

  constructor(registers: Registry[]) {
    this.#timer.unref();
    new Gauge({
      name: 'nodejs_eventloop_lag_seconds',
      help: 'How late the event loop is right now.',
      registers,
      async collect() {
        const began = performance.now();
        await nextTurn();
        this.set((performance.now() - began) / 1000);
      },
    });
    for (const [name, what, read] of LAGS) {
      const lag = () => this.#seconds(read(this.#current));
      new Gauge({
        name: `nodejs_eventloop_lag_${name}_seconds`,
        help: `The ${what} delay of the event loop in the last one to two minutes.`,
        registers,
        collect() {
          this.set(lag());
        },
      });
    }
    const deviation = () => this.#current.stddev / 1e9 || 0;
    new Gauge({
      name: 'nodejs_eventloop_lag_stddev_seconds',
      help: 'The standard deviation of these delays.',
      registers,
      collect() {
        this.set(deviation());
      },
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#current.disable();
    this.#next.disable();
  }

  #turn(): void {
    this.#current.disable();
    this.#current = this.#next;
    this.#next = monitor();
  }

  /** @param ns of the monitor, which includes its interval @returns seconds; 0 if nothing was measured yet */
  #seconds(ns: number): number {
    return this.#current.count === 0 ? 0 : Math.max(0, ns / 1e6 - RESOLUTION_MS) / 1000;
  }
}

function monitor(): IntervalHistogram {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return histogram;
}
