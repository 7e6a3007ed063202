// SPDX-License-Identifier: Apache-2.0

export interface MetricSample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** The samples of each metric in Prometheus' text format. */
export function parseMetrics(text: string): Map<string, MetricSample[]> {
  const metrics = new Map<string, MetricSample[]>();
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (name === undefined) continue;
    const samples = metrics.get(name) ?? [];
    metrics.set(name, samples);
    samples.push({ labels: parseLabels(labels), value: Number(value) });
  }
  return metrics;
}

function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [
      name as string,
      (value as string).replace(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : char)),
    ]),
  );
}

/** The sum of a metric's samples that have these labels; undefined if there is none. */
export function sumOf(
  metrics: ReadonlyMap<string, MetricSample[]>,
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const found = (metrics.get(name) ?? []).filter((sample) =>
    Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
}
