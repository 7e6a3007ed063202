// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../support/free-port.ts';
import { eventually, Process, ROOT, readYaml, run } from './support.ts';

export interface Series {
  metric: Record<string, string>;
  value: [number, string];
}

interface Rule {
  name: string;
  health: string;
  state: string;
  lastError?: string;
}

/** prom-client's own gauges, whose names promtool would not have; they are Node's customary ones. */
const NAMES_OF_NODE = /^nodejs_active_(handles|requests|resources)_total /;

/** A Prometheus with one of the configurations in docker/prometheus, which asks its targets every second. */
export class Prometheus {
  readonly #directory: string;
  readonly #process: Process;
  readonly #api: string;

  private constructor(directory: string, process: Process, api: string) {
    this.#directory = directory;
    this.#process = process;
    this.#api = api;
  }

  /** @param targets those of each job, as they are here */
  static async start(file: string, targets: Record<string, string[]>): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), 'dmad-prometheus-'));
    const config = readYaml(`docker/prometheus/${file}`);
    Object.assign(config.global, { scrape_interval: '1s', evaluation_interval: '1s' });
    config.rule_files = config.rule_files.map((each: string) =>
      join(ROOT, 'docker/prometheus', each),
    );
    for (const { job_name, static_configs } of config.scrape_configs) {
      static_configs[0].targets = targets[job_name];
    }
    const path = join(directory, 'prometheus.yml');
    writeFileSync(path, stringify(config));
    const port = await freePort();
    const flags = [
      ...[`--config.file=${path}`, `--storage.tsdb.path=${join(directory, 'data')}`],
      ...[`--web.listen-address=127.0.0.1:${port}`, '--log.level=warn'],
    ];
    const process = new Process('prometheus', flags, { timeout: 120_000 });
    return new Prometheus(directory, process, `http://127.0.0.1:${port}/api/v1`);
  }

  async ask<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
    const response = await fetch(`${this.#api}/${path}?${new URLSearchParams(parameters)}`, {
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

  async query(expression: string): Promise<Series[]> {
    return (await this.ask<{ result: Series[] }>('query', { query: expression })).result;
  }

  async value(expression: string): Promise<number | undefined> {
    const [series] = await this.query(expression);
    return series && Number(series.value[1]);
  }

  /** All alerts, once each has been evaluated. */
  rules(): Promise<Rule[]> {
    return eventually('every rule is evaluated', 15_000, async () => {
      const { groups } = await this.ask<{ groups: { rules: Rule[] }[] }>('rules');
      const all = groups.flatMap((group) => group.rules);
      return all.every(({ health }) => health !== 'unknown') ? all : undefined;
    });
  }

  async stop(): Promise<void> {
    await this.#process.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** What promtool finds wrong with metrics. */
export async function lint(metrics: string): Promise<string[]> {
  const { stdout, stderr } = await run('promtool', ['check', 'metrics'], {
    ...{ timeout: 15_000, input: metrics },
  });
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
  return lines.filter((line) => !NAMES_OF_NODE.test(line));
}

/** A panel's expression as Grafana would send it. */
export function askedFor(expression: string): string {
  return expression
    .replaceAll('$__rate_interval', '1m')
    .replaceAll('$__range', '1h')
    .replaceAll('$instance', '.*');
}
