// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readConfig } from '../../services/daemon/config.ts';
import { ROOT, readYaml, run } from './support.ts';

const BASE = ['-f', 'docker/compose.yaml'];
const DEVDAX = [...BASE, '-f', 'docker/compose.devdax.yaml'];
/** What an operator must say to give a real device away. */
const CHOICES = { DMAD_DEVICE: 'dax0.0', DMAD_TOKENS: '/etc/dmad/tokens.yaml' };

const { services, networks, volumes } = readYaml('docker/compose.yaml');

function config(files: string[], environment: Record<string, string> = {}) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
  return run('docker-compose', [...files, 'config', '-q'], { cwd: ROOT, env, timeout: 30_000 });
}

describe('docker-compose', () => {
  test('takes compose.yaml', async () => {
    expect(await config(BASE)).toMatchObject({ code: 0, stderr: '' });
  });

  test('takes it with compose.devdax.yaml, and not unless every choice is made', async () => {
    expect(await config(DEVDAX, CHOICES)).toMatchObject({ code: 0, stderr: '' });
    for (const name of Object.keys(CHOICES)) {
      const { code, stderr } = await config(DEVDAX, { ...CHOICES, [name]: '' });
      expect({ name, failed: code !== 0 }).toEqual({ name, failed: true });
      expect(stderr).toContain(name);
    }
  });
});

describe.each(Object.keys(services))('the service %s', (name) => {
  const service = services[name];

  test('is published to this machine alone', () => {
    for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('can gain nothing', () => {
    expect(service).toMatchObject({
      ...{ cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] },
    });
    expect(service.privileged ?? service.cap_add ?? service.network_mode).toBeUndefined();
  });

  test('has an image of a known version, networks, volumes and files that exist', () => {
    if (service.build === undefined) expect(service.image).toMatch(/:v?\d+\.\d+\.\d+$/);
    else expect(existsSync(join(ROOT, service.build.dockerfile))).toBe(true);
    for (const network of service.networks) expect(networks).toHaveProperty(network);
    for (const volume of service.volumes) {
      const [source] = volume.split(':');
      if (source.startsWith('.')) expect(existsSync(join(ROOT, 'docker', source))).toBe(true);
      else expect(volumes).toHaveProperty(source);
    }
  });
});

describe('the daemon in compose.yaml', () => {
  const { dmad, prometheus, grafana } = services;
  const read = (environment: Record<string, string>) =>
    readConfig({ DMAD_HOST: '0.0.0.0', DMAD_STATE_DIR: '/var/lib/dmad', ...environment });

  test('has settings that mean something, and emulated devices only', () => {
    const { unknown_variables, devices } = read(dmad.environment);
    expect(unknown_variables).toEqual([]);
    expect(devices).toMatchObject({
      kind: 'list',
      devices: [{ kind: 'emulated' }, { kind: 'emulated' }],
    });
  });

  test('has time to drain', () => {
    expect(Number.parseInt(dmad.stop_grace_period, 10)).toBeGreaterThan(
      read(dmad.environment).drain_seconds,
    );
  });

  test('is reached by Prometheus under its own name, and not by Grafana', () => {
    const { scrape_configs } = readYaml('docker/prometheus/prometheus.yml');
    const [target] = scrape_configs[0].static_configs[0].targets;
    const { allowed_hosts, port } = read(dmad.environment);
    expect(target).toBe(`${allowed_hosts[0]}:${port}`);
    expect(services).toHaveProperty(allowed_hosts[0] ?? '');
    const shared = (a: string[], b: string[]) => a.filter((network) => b.includes(network));
    expect(shared(dmad.networks, prometheus.networks)).toHaveLength(1);
    expect(shared(grafana.networks, prometheus.networks)).toHaveLength(1);
    expect(shared(dmad.networks, grafana.networks)).toHaveLength(0);
    const { datasources } = readYaml('docker/grafana/provisioning/datasources/prometheus.yaml');
    expect(datasources[0].url).toBe('http://prometheus:9090');
  });

  test('takes a real device in compose.devdax.yaml with settings that mean something', () => {
    const text = JSON.stringify(readYaml('docker/compose.devdax.yaml').services.dmad);
    const { environment, devices } = JSON.parse(
      text.replace(/\$\{(\w+)[^}]*\}/g, (_, name: keyof typeof CHOICES) => CHOICES[name]),
    );
    expect(read(environment)).toMatchObject({
      unknown_variables: [],
      devices: { kind: 'list', devices: [{ kind: 'devdax', name: 'dax0.0' }] },
      ...{ insecure: false, tokens_file: '/run/dmad/tokens.yaml' },
    });
    expect(devices).toEqual(['/dev/dax0.0:/dev/dax0.0:rw']);
  });
});
