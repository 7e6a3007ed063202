// SPDX-License-Identifier: Apache-2.0
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';

const NEVER_MS = 2 ** 31 - 1;

/**
 * Metrics of the process. Their observers cannot be stopped, so they are started once a process, and
 * hold no reference to a service.
 */
export const PROCESS_METRICS = collectProcessMetrics();

function collectProcessMetrics(): Metric[] {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  return (
    registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      // Its gauges of the event loop's lag reset whenever any scraper reads them.
      .filter((name) => !name.startsWith('nodejs_eventloop_lag_'))
      .map((name) => registry.getSingleMetric(name) as Metric)
  );
}
