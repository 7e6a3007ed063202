// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { skipped } from '../../bench/figures.ts';
import { ratioPlot } from '../../bench/plot.ts';

const row = (name: string, ratio: number) => ({
  ...{ name, ratio, spread: 0.1, value: 1, peer: 1, ratios: [], unit: 'GB/s', note: '' },
});

test('a plot has a bar for each row that has a figure, as long as its ratio', () => {
  const rows = [row('one', 1), row('two', 2), skipped('none', 'there is none')];
  const plot = ratioPlot('engine', 'AT&T <cpu>', rows);
  const widths = [...plot.matchAll(/width="([\d.]+)" height="16"/g)].map(([, width]) =>
    Number(width),
  );
  expect(widths).toHaveLength(2);
  expect((widths[1] as number) / (widths[0] as number)).toBeCloseTo(2, 6);
  expect(plot).toContain('AT&amp;T &lt;cpu>');
  expect(plot).not.toContain('none');
});
