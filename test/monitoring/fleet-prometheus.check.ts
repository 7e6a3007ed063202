// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { TestFleet } from '../support/fleet.ts';
import { askedFor, lint, Prometheus } from './prometheus.ts';
import { alertRules, dashboardPanels, exportedNames, metricNames } from './promql.ts';
import { eventually } from './support.ts';

const TRANSFERS = 3;
const COPY = {
  ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

let fleet: TestFleet;
let prometheus: Prometheus;

beforeAll(async () => {
  fleet = await TestFleet.start({ members: 1 });
  for (let count = 0; count < TRANSFERS; count++) {
    expect((await fleet.ask('POST', '/transfers', { body: COPY })).status).toBe(201);
  }
  const hostOf = (url: string) => new URL(url).host;
  prometheus = await Prometheus.start('fleet.yml', {
    'dmad-fleet': fleet.urls.map(hostOf),
    dmad: fleet.hosts.map(({ url }) => hostOf(url)),
    etcd: fleet.etcd.urls.split(',').map(hostOf),
  });
  await eventually('Prometheus has scraped all of it twice', 30_000, async () => {
    const scrapes = await prometheus.value('min(count_over_time(up[1m]))');
    const up = await prometheus.value('sum(up)');
    return scrapes !== undefined && scrapes > 1 && up === 4 ? true : undefined;
  });
}, 120_000);
afterAll(async () => {
  await prometheus?.stop();
  await fleet?.stop();
});

describe('a fleet scraped by Prometheus', () => {
  test('has counted what was done, on each gateway', async () => {
    const ended = await prometheus.query(
      'dmad_fleet_transfers_total{operation="copy",status="succeeded"}',
    );
    expect(ended.map(({ value }) => value[1])).toEqual([String(TRANSFERS), String(TRANSFERS)]);
    expect(await prometheus.value('sum(dmad_fleet_hosts_owned)')).toBe(1);
    expect(await prometheus.value('min(dmad_fleet_gateways)')).toBe(2);
    expect(await prometheus.value('min(dmad_fleet_hosts{state="ready"})')).toBe(1);
  });

  test('evaluates every alert without an error, and fires none', async () => {
    const rules = await prometheus.rules();
    const expected = [...alertRules('fleet.rules.yml'), ...alertRules()];
    expect(rules.map(({ name }) => name)).toEqual(expected.map(({ alert }) => alert));
    for (const { name, health, state, lastError = '' } of rules) {
      expect({ name, health, state, lastError }).toEqual({
        ...{ name, health: 'ok', state: 'inactive', lastError: '' },
      });
    }
  });

  test('has metrics that promtool finds nothing to say about', async () => {
    expect(await lint((await fleet.ask('GET', '/metrics')).body)).toEqual([]);
  });

  test('has every metric that the alerts and the dashboard name', async () => {
    const pages = [`${fleet.urls[0]}/metrics`, `${fleet.etcd.urls}/metrics`];
    const texts = await Promise.all(pages.map(async (page) => (await fetch(page)).text()));
    const exported = new Set(texts.flatMap((text) => [...exportedNames(text)]));
    const expressions = [
      ...alertRules('fleet.rules.yml').map(({ expr }) => expr),
      ...dashboardPanels('fleet.json').flatMap(({ targets = [] }) =>
        targets.map(({ expr }) => expr),
      ),
    ];
    const named = new Set(expressions.flatMap(metricNames));
    expect(named.size).toBeGreaterThan(15);
    expect([...named].filter((name) => !exported.has(name))).toEqual([]);
  });

  test.each(dashboardPanels('fleet.json').filter(({ targets }) => targets !== undefined))(
    'fills the panel "$title"',
    async ({ targets = [] }) => {
      for (const { expr, legendFormat } of targets) {
        const result = await prometheus.query(askedFor(expr));
        expect({ expr, series: result.length > 0 }).toEqual({ expr, series: true });
        const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
        for (const { metric } of result) {
          expect(Object.keys(metric)).toEqual(expect.arrayContaining(labels));
        }
      }
    },
  );

  test('is missed when etcd is gone', async () => {
    await fleet.etcd.killAll();
    await eventually('DmadFleetEtcdAway is pending', 20_000, async () =>
      prometheus.value('ALERTS{alertname="DmadFleetEtcdAway",alertstate="pending"}'),
    );
  });
});
