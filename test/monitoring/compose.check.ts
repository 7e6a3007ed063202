// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { readConfig } from '../../services/daemon/config.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { ROOT, readYaml, run } from './support.ts';

const BASE = ['-f', 'docker/compose.yaml'];
const DEVDAX = [...BASE, '-f', 'docker/compose.devdax.yaml'];
const FLEET = ['-f', 'docker/compose.fleet.yaml'];
/** What an operator must say to give a real device away. */
const CHOICES = { DMAD_DEVICE: 'dax0.0', DMAD_TOKENS: '/etc/dmad/tokens.yaml' };

const { services } = readYaml('docker/compose.yaml');
const { dmad, prometheus, grafana } = services;
const fleet = readYaml('docker/compose.fleet.yaml').services;

function config(files: string[], environment: Record<string, string> = {}) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
  return run('docker-compose', [...files, 'config', '-q'], { cwd: ROOT, env, timeout: 30_000 });
}

describe('docker-compose', () => {
  test('takes compose.yaml', async () => {
    expect(await config(BASE)).toMatchObject({ code: 0, stderr: '' });
  });

  test('takes compose.fleet.yaml', async () => {
    expect(await config(FLEET)).toMatchObject({ code: 0, stderr: '' });
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

const FILES = ['compose.yaml', 'compose.fleet.yaml'].flatMap((file) => {
  const { services, networks, volumes } = readYaml(`docker/${file}`);
  return Object.entries(services).map(([name, service]) => ({
    ...{ file, name, service: service as typeof dmad, networks, volumes },
  }));
});

describe.each(FILES)('the service $name of $file', ({ service, networks, volumes }) => {
  test('is published to this machine alone', () => {
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
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
    for (const volume of service.volumes ?? []) {
      const [source] = volume.split(':');
      if (source.startsWith('.')) expect(existsSync(join(ROOT, 'docker', source))).toBe(true);
      else expect(volumes).toHaveProperty(source);
    }
  });
});

/** With what the image sets. */
const read = (environment: Record<string, string>) =>
  readConfig({ DMAD_HOST: '0.0.0.0', DMAD_STATE_DIR: '/var/lib/dmad', ...environment });
const shared = (a: string[], b: string[]) => a.filter((network) => b.includes(network));

describe('the daemon in compose.yaml', () => {
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

describe('compose.fleet.yaml', () => {
  const named = (pattern: RegExp) => Object.keys(fleet).filter((name) => pattern.test(name));
  const members = named(/^etcd\d$/);
  const gateways = named(/^gateway\d$/);
  const hosts = named(/^host[abc]$/);
  const directory = mkdtempSync(join(tmpdir(), 'dmad-compose-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test('has three members of etcd, each of which knows itself and the others', () => {
    expect(members).toHaveLength(3);
    for (const name of members) {
      const { environment } = fleet[name];
      expect(environment).toMatchObject({
        ETCD_NAME: name,
        ETCD_ADVERTISE_CLIENT_URLS: `http://${name}:2379`,
        ETCD_INITIAL_ADVERTISE_PEER_URLS: `http://${name}:2380`,
        ETCD_INITIAL_CLUSTER: members.map((each) => `${each}=http://${each}:2380`).join(','),
      });
      expect(fleet[name].volumes).toEqual([`${name}-data:/var/lib/etcd`]);
      expect(environment.ETCD_DATA_DIR).toMatch(/^\/var\/lib\/etcd\//);
    }
  });

  test('has two gateways whose settings mean something, on all of etcd', () => {
    expect(gateways).toHaveLength(2);
    const published = new Set(gateways.flatMap((name) => fleet[name].ports));
    expect(published.size).toBe(2);
    for (const name of gateways) {
      const { environment, entrypoint } = fleet[name];
      const config = readFleetConfig(environment);
      expect(config).toMatchObject({
        unknown_variables: [],
        allowed_hosts: [name],
        insecure: true,
      });
      expect(config.etcd.urls).toEqual(members.map((each) => `http://${each}:2379`));
      for (const port of fleet[name].ports) expect(port).toMatch(new RegExp(`:${config.port}$`));
      expect(entrypoint.at(-1)).toBe('/app/dist/services/fleet/main.js');
    }
  });

  test('has three hosts, on emulated devices, each with the others for its peers', () => {
    expect(hosts).toHaveLength(3);
    for (const name of hosts) {
      const { environment, command, stop_grace_period } = fleet[name];
      const config = read(environment);
      expect(config).toMatchObject({
        ...{ unknown_variables: [], allowed_hosts: [name] },
        devices: { kind: 'list', devices: [{ kind: 'emulated' }, { kind: 'emulated' }] },
      });
      expect(Number.parseInt(stop_grace_period, 10)).toBeGreaterThan(config.drain_seconds);
      // All of it but the daemon.
      const script = command[0].replaceAll('$$', '$').replace(/^exec .*$/m, '');
      const file = join(directory, name);
      execFileSync('sh', ['-ec', script], {
        env: { DMAD_ALLOWED_HOSTS: name, DMAD_PEERS_FILE: file },
      });
      const { peers } = parse(readFileSync(file, 'utf8'));
      expect(peers).toEqual(
        hosts.flatMap((host) =>
          host === name ? [] : [{ name: host, url: `http://${host}:${config.port}` }],
        ),
      );
    }
    const [added] = fleet['add-hosts'].command;
    for (const name of hosts) expect(added).toContain(name);
  });

  test('keeps hosts and Grafana away from etcd, and Prometheus scrapes all of it', () => {
    for (const name of [...hosts, 'grafana', 'add-hosts']) {
      expect(shared(fleet[name].networks, fleet.etcd1.networks)).toEqual([]);
    }
    for (const name of gateways) {
      expect(shared(fleet[name].networks, fleet.etcd1.networks)).toHaveLength(1);
      expect(shared(fleet[name].networks, fleet.hosta.networks).length).toBeGreaterThan(0);
    }
    const { scrape_configs } = readYaml('docker/prometheus/fleet.yml');
    const targets = Object.fromEntries(
      scrape_configs.map(({ job_name, static_configs }: (typeof scrape_configs)[0]) => [
        job_name,
        static_configs[0].targets,
      ]),
    );
    expect(targets).toEqual({
      'dmad-fleet': gateways.map((name) => `${name}:8090`),
      dmad: hosts.map((name) => `${name}:8080`),
      etcd: members.map((name) => `${name}:2379`),
    });
    for (const name of [...gateways, ...hosts, ...members]) {
      expect(shared(fleet[name].networks, fleet.prometheus.networks).length).toBeGreaterThan(0);
    }
  });
});
