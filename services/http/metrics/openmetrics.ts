// SPDX-License-Identifier: Apache-2.0

export const OPENMETRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/**
 * Converts the Prometheus text format to OpenMetrics: a counter's family has no `_total` in its name,
 * there are no empty lines, and the end is marked. prom-client can do so, too, but renames the
 * registry's counters for good.
 */
export function toOpenMetrics(text: string): string {
  const families = text.split('\n\n').map((family) => {
    const name = /^# TYPE (\S+)_total counter$/m.exec(family)?.[1];
    return name === undefined
      ? family.trimEnd()
      : family
          .trimEnd()
          .replaceAll(new RegExp(`^# (HELP|TYPE) ${name}_total `, 'gm'), `# $1 ${name} `);
  });
  return `${families.join('\n')}\n# EOF\n`;
}
