// SPDX-License-Identifier: Apache-2.0
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 20;
const WINDOW_MS = 5000;
/** Beyond this, clients wait for the daemon itself; a load balancer should choose another one. */
const LAGGING_MS = 500;

/** How late the event loop is, over the last two windows: one stall, or a start, does not count. */
export class EventLoopLag {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #timer: NodeJS.Timeout;
  #lagMs = 0;
  #lagBeforeMs = 0;

  constructor() {
    this.#histogram.enable();
    this.#timer = setInterval(() => {
      this.#lagBeforeMs = this.#lagMs;
      // In nanoseconds, and with the interval in it.
      this.#lagMs = Math.max(0, this.#histogram.percentile(50) / 1e6 - RESOLUTION_MS);
      this.#histogram.reset();
    }, WINDOW_MS);
    this.#timer.unref();
  }

  get lagging(): boolean {
    return Math.min(this.#lagMs, this.#lagBeforeMs) > LAGGING_MS;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }
}
