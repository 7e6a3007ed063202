// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { toOpenMetrics } from '../../../../services/http/metrics/openmetrics.ts';

test('counters lose _total in the name of their family alone, and the end is marked', async () => {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'a_total', help: 'A a_total.', labelNames: ['x'], registers }).inc({
    x: '1',
  });
  new Gauge({ name: 'b_total', help: 'A gauge that is so named.', registers }).set(2);
  new Histogram({ name: 'c', help: 'C.', buckets: [1], registers }).observe(0.5);
  expect(toOpenMetrics(await registry.metrics())).toBe(`# HELP a A a_total.
# TYPE a counter
a_total{x="1"} 1
# HELP b_total A gauge that is so named.
# TYPE b_total gauge
b_total 2
# HELP c C.
# TYPE c histogram
c_bucket{le="1"} 1
c_bucket{le="+Inf"} 1
c_sum 0.5
c_count 1
# EOF
`);
});
