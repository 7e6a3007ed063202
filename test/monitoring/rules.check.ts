// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { alertRules, dashboardPanels } from './promql.ts';
import { ROOT, readText, readYaml, run } from './support.ts';

const options = { cwd: ROOT, timeout: 30_000 };

/** What compose.yaml shows, and what compose.fleet.yaml does. */
const SETS = [
  {
    ...{ config: 'prometheus.yml', rules: 'rules.yml', ruleTests: 'rules.test.yml' },
    ...{ dashboard: 'dmad.json', compose: 'compose.yaml' },
  },
  {
    ...{ config: 'fleet.yml', rules: 'fleet.rules.yml', ruleTests: 'fleet.rules.test.yml' },
    ...{ dashboard: 'fleet.json', compose: 'compose.fleet.yaml' },
  },
];

describe.each(SETS)('$rules and $dashboard', ({ config, rules, ruleTests, dashboard, compose }) => {
  test.each([
    ['check', 'config', config],
    ['check', 'rules', rules],
    ['test', 'rules', ruleTests],
  ])('promtool %s %s %s', async (...args) => {
    const command = args.with(-1, `docker/prometheus/${args.at(-1)}`);
    expect(await run('promtool', command, options)).toMatchObject({ code: 0 });
  });

  test.each(alertRules(rules))(
    '$alert says what is wrong and what to do, and is tested',
    (rule) => {
      const { alert, annotations, labels } = rule;
      expect(annotations.summary?.length).toBeGreaterThan(20);
      expect(annotations.description?.length).toBeGreaterThan(50);
      expect(['warning', 'critical']).toContain(labels.severity);

      const { tests } = readYaml(`docker/prometheus/${ruleTests}`);
      const cases: { firing: boolean }[] = [];
      for (const { promql_expr_test = [], alert_rule_test = [] } of tests) {
        for (const { expr, exp_samples } of promql_expr_test) {
          if (expr === 'ALERTS' || expr.includes(`alertname="${alert}"`)) {
            cases.push({ firing: exp_samples.length > 0 });
          }
        }
        for (const { alertname, exp_alerts } of alert_rule_test) {
          if (alertname === alert) cases.push({ firing: exp_alerts.length > 0 });
        }
      }
      expect(cases).toContainEqual({ firing: true });
      expect(cases).toContainEqual({ firing: false });
    },
  );

  test('the panels have names and places of their own', () => {
    const panels = dashboardPanels(dashboard);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { title, type, description, gridPos, targets = [] } of panels) {
      expect(title).not.toBe('');
      if (type === 'row') continue;
      expect({ title, described: Boolean(description), queried: targets.length > 0 }).toEqual({
        ...{ title, described: true, queried: true },
      });
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
      const { x, y, w, h } = gridPos;
      expect(x + w).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          const place = `${column},${line}`;
          expect({ title, place, free: !taken.has(place) }).toEqual({ title, place, free: true });
          taken.add(place);
        }
      }
    }
  });

  test('the dashboard, its data source and its place fit together', () => {
    const { templating, panels } = JSON.parse(readText(`docker/grafana/dashboards/${dashboard}`));
    const { datasources } = readYaml('docker/grafana/provisioning/datasources/prometheus.yaml');
    const { providers } = readYaml('docker/grafana/provisioning/dashboards/dmad.yaml');
    const { services } = readYaml(`docker/${compose}`);
    const { global } = readYaml(`docker/prometheus/${config}`);

    const [variable] = templating.list;
    expect(variable).toMatchObject({ name: 'datasource', current: { value: datasources[0].uid } });
    for (const { type, datasource } of panels) {
      if (type !== 'row') expect(datasource.uid).toBe(`$\{${variable.name}}`);
    }
    expect(datasources[0].jsonData.timeInterval).toBe(global.scrape_interval);
    const { path } = providers[0].options;
    expect(services.grafana.volumes).toContain(`./grafana/dashboards:${path}:ro`);
    expect(services.grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH).toBe(
      `${path}/${dashboard}`,
    );
  });
});
