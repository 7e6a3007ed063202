// SPDX-License-Identifier: Apache-2.0
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';

const NEVER_MS = 2 ** 31 - 1;

/**
 * Of the process. What observes them cannot be stopped, so it is started once, and knows nothing of
 * the service.
 */
export const PROCESS_METRICS = collectProcessMetrics();

function collectProcessMetrics(): Metric[] {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  return (
    registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      // Its gauges of the event loop's lag are reset whenever any scraper reads them.
      .filter((name) => !name.startsWith('nodejs_eventloop_lag_'))
      .map((name) => registry.getSingleMetric(name) as Metric)
  );
}
