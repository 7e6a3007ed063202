// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { askedFor, lint, Prometheus } from './prometheus.ts';
import { alertRules, dashboardPanels, exportedNames, metricNames } from './promql.ts';
import { eventually } from './support.ts';

const TRANSFERS = 3;
const SIZE = 4096;

let daemon: Daemon;
let url: string;
let prometheus: Prometheus;

const query = (expression: string) => prometheus.query(expression);
const value = (expression: string) => prometheus.value(expression);

function post(body: unknown): Promise<Response> {
  return fetch(`${url}/transfers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
}

beforeAll(async () => {
  daemon = new Daemon();
  url = await daemon.ready();
  for (let i = 0; i < TRANSFERS; i++) {
    const sizes = { src_offset: 0, dst_offset: SIZE * (i + 1), size: SIZE };
    const response = await post({ device_name: 'dax0.0', ...sizes, verify: 'crc32c' });
    expect(response.status).toBe(201);
  }
  expect((await fetch(`${url}/devices`)).status).toBe(200);
  const refused = { device_name: 'dax0.0', src_offset: 0, dst_offset: 0, size: SIZE };
  expect((await post(refused)).status).toBe(422);

  prometheus = await Prometheus.start('prometheus.yml', { dmad: [new URL(url).host] });
  await eventually('Prometheus has scraped every transfer twice', 30_000, async () => {
    const scrapes = await value('min(count_over_time(dmad_transfers_total[1m]))');
    return scrapes !== undefined && scrapes > 1 ? true : undefined;
  });
});

afterAll(async () => {
  await prometheus?.stop();
  await daemon?.stop();
});

describe('a daemon scraped by Prometheus', () => {
  test('is up, and its target has no error', async () => {
    expect(await value('up{job="dmad"}')).toBe(1);
    const { activeTargets } = await prometheus.ask<{ activeTargets: unknown[] }>('targets');
    expect(activeTargets).toMatchObject([{ health: 'up', lastError: '' }]);
  });

  test('has counted what was done', async () => {
    const done = 'operation="copy",engine="cpu",status="succeeded"';
    expect(await value(`dmad_transfers_total{${done}}`)).toBe(TRANSFERS);
    expect(await value('sum(dmad_transfers_total)')).toBe(TRANSFERS);
    expect(await value('dmad_transfer_bytes_total{operation="copy",engine="cpu"}')).toBe(
      TRANSFERS * SIZE,
    );
    for (const phase of ['queue', 'copy', 'flush', 'verify']) {
      const count = await value(`dmad_transfer_phase_seconds_count{phase="${phase}"}`);
      expect({ phase, count }).toEqual({ phase, count: TRANSFERS });
    }
    const answers = 'dmad_http_request_duration_seconds_count{method="POST",route="/transfers"';
    expect(await value(`${answers},status="201"}`)).toBe(TRANSFERS);
    expect(await value(`${answers},status="422"}`)).toBe(1);
    expect(await value('dmad_transfers_in_flight')).toBe(0);
    expect(await value('dmad_queue_depth')).toBe(0);
    expect(await value('count(dmad_device_size_bytes == 1048576)')).toBe(2);
  });

  test('evaluates every alert without an error, and fires none', async () => {
    const rules = await prometheus.rules();
    expect(rules.map(({ name }) => name)).toEqual(alertRules().map(({ alert }) => alert));
    for (const { name, health, state, lastError = '' } of rules) {
      expect({ name, health, state, lastError }).toEqual({
        ...{ name, health: 'ok', state: 'inactive', lastError: '' },
      });
    }
  });

  test('has metrics that promtool finds nothing to say about', async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(await lint(metrics)).toEqual([]);
  });

  test('has every metric that the alerts and the dashboard name', async () => {
    const exported = exportedNames(await (await fetch(`${url}/metrics`)).text());
    const expressions = [
      ...alertRules().map(({ expr }) => expr),
      ...dashboardPanels().flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ];
    const named = new Set(expressions.flatMap(metricNames));
    expect(named.size).toBeGreaterThan(20);
    expect([...named].filter((name) => !exported.has(name))).toEqual([]);
  });

  test.each(dashboardPanels().filter(({ targets }) => targets !== undefined))(
    'fills the panel "$title"',
    async ({ targets = [] }) => {
      for (const { expr, legendFormat } of targets) {
        const result = await query(askedFor(expr));
        // No DMA channels here, and no alert fires.
        if (/dmad_channel_|^max.*ALERTS/.test(expr)) continue;
        expect({ expr, series: result.length > 0 }).toEqual({ expr, series: true });
        const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
        for (const { metric } of result) {
          expect(Object.keys(metric)).toEqual(expect.arrayContaining(labels));
        }
      }
    },
  );

  test('is missed when it is gone', async () => {
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    await eventually('the target is down', 15_000, async () =>
      (await value('up{job="dmad"}')) === 0 ? true : undefined,
    );
    await eventually('DmadDown is pending', 15_000, async () =>
      value('ALERTS{alertname="DmadDown",alertstate="pending"}'),
    );
  });
});
