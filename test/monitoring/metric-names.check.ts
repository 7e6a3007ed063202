// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { exportedNames, metricNames } from './promql.ts';

test.each([
  ['up == 0 or absent(up{job="x"})', []],
  ['a_total{b="c_total"} offset 15m > 1e9', ['a_total']],
  ['sum by (le, job) (rate(a_bucket[5m])) / on (job) group_left (x) b:c', ['a_bucket', 'b:c']],
  ['histogram_quantile(0.5, sum by(le)(rate(a{b=~"$c"}[$__range])))', ['a']],
  ['a unless on (b) (c > 0.25) and d', ['a', 'c', 'd']],
])('the names in %s', (expression, names) => {
  expect(metricNames(expression)).toEqual(names);
});

test('the names that a scrape gives', () => {
  const text = `# HELP a A.\n# TYPE a counter\n# HELP b B.\n# TYPE b histogram\n# TYPE c gauge\n`;
  expect([...exportedNames(text)]).toEqual(['a', 'b_bucket', 'b_sum', 'b_count']);
});
