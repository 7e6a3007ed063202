// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { Daemon } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { alertRules, dashboardPanels, exportedNames, metricNames } from './promql.ts';
import { eventually, Process, ROOT, readYaml, run } from './support.ts';

/** prom-client's own gauges, whose names promtool would not have; they are Node's customary ones. */
const NAMES_OF_NODE = /^nodejs_active_(handles|requests|resources)_total /;
const TRANSFERS = 3;
const SIZE = 4096;

interface Series {
  metric: Record<string, string>;
  value: [number, string];
}

let daemon: Daemon;
let url: string;
let prometheus: Process;
let api: string;
let directory: string;

async function ask<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
  const response = await fetch(`${api}/${path}?${new URLSearchParams(parameters)}`, {
    signal: AbortSignal.timeout(5000),
  });
  const { status, data, error } = (await response.json()) as {
    status: string;
    data: T;
    error?: string;
  };
  if (status !== 'success') throw new Error(`${parameters.query}: ${error}`);
  return data;
}

async function query(expression: string): Promise<Series[]> {
  return (await ask<{ result: Series[] }>('query', { query: expression })).result;
}

async function value(expression: string): Promise<number | undefined> {
  const [series] = await query(expression);
  return series && Number(series.value[1]);
}

function post(body: unknown): Promise<Response> {
  return fetch(`${url}/transfers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
}

/** docker/prometheus/prometheus.yml for one daemon on loopback, asked every second. */
function testConfig(target: string): string {
  const config = readYaml('docker/prometheus/prometheus.yml');
  Object.assign(config.global, { scrape_interval: '1s', evaluation_interval: '1s' });
  config.rule_files = config.rule_files.map((file: string) =>
    join(ROOT, 'docker/prometheus', file),
  );
  config.scrape_configs[0].static_configs[0].targets = [target];
  return stringify(config);
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-prometheus-'));
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

  const config = join(directory, 'prometheus.yml');
  writeFileSync(config, testConfig(new URL(url).host));
  const port = await freePort();
  api = `http://127.0.0.1:${port}/api/v1`;
  const flags = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(directory, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ];
  prometheus = new Process('prometheus', flags, { timeout: 120_000 });
  await eventually('Prometheus has scraped every transfer twice', 30_000, async () => {
    const scrapes = await value('min(count_over_time(dmad_transfers_total[1m]))');
    return scrapes !== undefined && scrapes > 1 ? true : undefined;
  });
});

afterAll(async () => {
  await prometheus?.stop();
  await daemon?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('a daemon scraped by Prometheus', () => {
  test('is up, and its target has no error', async () => {
    expect(await value('up{job="dmad"}')).toBe(1);
    const { activeTargets } = await ask<{ activeTargets: unknown[] }>('targets');
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
    const rules = await eventually('every rule is evaluated', 15_000, async () => {
      const { groups } = await ask<{
        groups: { rules: { name: string; health: string; state: string; lastError?: string }[] }[];
      }>('rules');
      const all = groups.flatMap((group) => group.rules);
      return all.every(({ health }) => health !== 'unknown') ? all : undefined;
    });
    expect(rules.map(({ name }) => name)).toEqual(alertRules().map(({ alert }) => alert));
    for (const { name, health, state, lastError = '' } of rules) {
      expect({ name, health, state, lastError }).toEqual({
        ...{ name, health: 'ok', state: 'inactive', lastError: '' },
      });
    }
  });

  test('has metrics that promtool finds nothing to say about', async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const { stdout, stderr } = await run('promtool', ['check', 'metrics'], {
      timeout: 15_000,
      input: metrics,
    });
    const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
    expect(lines.filter((line) => !NAMES_OF_NODE.test(line))).toEqual([]);
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
        const asked = expr
          .replaceAll('$__rate_interval', '1m')
          .replaceAll('$__range', '1h')
          .replaceAll('$instance', '.*');
        const result = await query(asked);
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
