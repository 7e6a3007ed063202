// SPDX-License-Identifier: Apache-2.0
import { readText, readYaml } from './support.ts';

/** Made by Prometheus itself. */
const OF_PROMETHEUS = new Set(['up', 'ALERTS']);
const WORDS = new Set(['and', 'or', 'unless', 'offset', 'bool', 'inf', 'nan']);

/** The names of the metrics that an expression reads from what it scrapes. */
export function metricNames(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"|'[^']*'/g, '')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  const names = bare.match(/(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()/g) ?? [];
  return names.filter((name) => !WORDS.has(name.toLowerCase()) && !OF_PROMETHEUS.has(name));
}

/** The names under which a daemon's metrics can be queried, from its HELP and TYPE lines. */
export function exportedNames(metrics: string): Set<string> {
  const names = new Set<string>();
  const described = new Set([...metrics.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name));
  for (const [, name = '', type] of metrics.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    if (!described.has(name)) continue;
    if (type !== 'histogram') names.add(name);
    else for (const part of ['bucket', 'sum', 'count']) names.add(`${name}_${part}`);
  }
  return names;
}

export interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** @param file in docker/prometheus */
export function alertRules(file = 'rules.yml'): Rule[] {
  const { groups } = readYaml(`docker/prometheus/${file}`) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

export interface Target {
  expr: string;
  legendFormat: string;
  refId: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
}

/** @param file in docker/grafana/dashboards */
export function dashboardPanels(file = 'dmad.json'): Panel[] {
  return JSON.parse(readText(`docker/grafana/dashboards/${file}`)).panels;
}
