// SPDX-License-Identifier: Apache-2.0
import { Histogram, type Registry } from 'prom-client';
import type { AnsweredRequest } from '../request-log.ts';
import { buckets125 } from './buckets.ts';

/** From an answer that is in memory to the longest wait that a client can ask for. */
const REQUEST_BUCKETS = buckets125(1e-4, 100);

/** Counts requests by their answer, and measures how long each took. */
export class RequestMetrics {
  readonly #durations: Histogram;

  constructor(registers: Registry[]) {
    this.#durations = new Histogram({
      name: 'dmad_http_request_duration_seconds',
      help:
        'Time from the header of a request to the end of its answer. kind="plain" is up to the ' +
        'daemon alone; wait: for the end of a transfer; content: reads or writes the bytes of a ' +
        'device; stream: of events. status="client_closed": the client left before the end.',
      labelNames: ['method', 'route', 'kind', 'status'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
  }

  answered({ method, route, kind, status, ms }: AnsweredRequest): void {
    // Without a route the method is any text that a client chose.
    const known = route !== undefined;
    const labels = {
      method: known ? method : 'other',
      route: known ? route : 'none',
      kind,
      status: String(status),
    };
    this.#durations.observe(labels, ms / 1000);
  }
}
