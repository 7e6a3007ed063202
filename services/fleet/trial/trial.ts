// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { Signals } from '../../base/signals.ts';
import { StartError } from '../../base/start-error.ts';
import { Children } from './children.ts';

const HOSTS = ['hosta', 'hostb', 'hostc'];
const GATEWAYS = ['gateway1', 'gateway2'];
/** What the gateways and daemons listen on, if it is free. */
const PREFERRED_PORTS = { gateways: 8090, hosts: 8081 };
const DEVICES = 'emulated:dax0.0=64MiB,emulated:dax1.0=64MiB';
const READY_MS = 60_000;
const POLL_MS = 100;

// As deep as the bundle: see services/build.mjs.
const DAEMON = fileURLToPath(new URL('../../daemon/main.js', import.meta.url));
const GATEWAY = fileURLToPath(new URL('../../fleet/main.js', import.meta.url));

/**
 * Runs a whole fleet on this machine, on emulated devices, until a signal stops it; nothing of it
 * is left then.
 *
 * @throws StartError if there is no etcd; Error if something of the fleet ends
 */
export async function runTrial(signals: Signals): Promise<void> {
  checkEtcd();
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
  const children = new Children(directory);
  signals.settled();
  try {
    const stopped = signals.stop.then(() => 'stopped' as const);
    const running = start(children, directory);
    const outcome = await Promise.race([running, children.failed, stopped]);
    if (outcome === 'stopped') return;
    process.stdout.write(describe(outcome, directory));
    await Promise.race([stopped, children.failed]);
  } finally {
    await children.stop();
    rmSync(directory, { recursive: true, force: true });
    process.stdout.write('All of it has ended.\n');
  }
}

interface Address {
  name: string;
  url: string;
}

interface Member extends Address {
  /** Of its process. */
  pid: number | undefined;
}

interface Trial {
  gateways: Member[];
  hosts: Member[];
}

async function start(children: Children, directory: string): Promise<Trial> {
  const etcd = await startEtcd(children, directory);
  const addresses: Address[] = [];
  for (const [index, name] of HOSTS.entries()) {
    const port = await freePort(PREFERRED_PORTS.hosts + index);
    addresses.push({ name, url: `http://127.0.0.1:${port}` });
  }
  const hosts = addresses.map((address) => ({
    ...address,
    pid: startDaemon(children, join(directory, address.name), address, addresses),
  }));
  const gateways: Member[] = [];
  for (const [index, name] of GATEWAYS.entries()) {
    const port = await freePort(PREFERRED_PORTS.gateways + index);
    const pid = children.start(name, [process.execPath, GATEWAY], {
      DMAD_FLEET_ETCD: etcd,
      DMAD_FLEET_PORT: String(port),
    });
    gateways.push({ name, url: `http://127.0.0.1:${port}`, pid });
  }
  for (const { url } of [...hosts, ...gateways]) await isReady(`${url}/readyz`);
  for (const { name, url } of hosts) {
    const answer = await fetch(`${gateways[0]?.url}/hosts/${name}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url }),
    });
    if (!answer.ok) throw new Error(`host ${name} cannot be added: ${await answer.text()}`);
  }
  return { gateways, hosts };
}

async function startEtcd(children: Children, directory: string): Promise<string> {
  const client = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  children.start('etcd', [
    ...['etcd', '--name', 'try', '--data-dir', join(directory, 'etcd'), '--logger', 'zap'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', `try=${peer}`, '--auto-compaction-retention', '1h'],
  ]);
  await isReady(`${client}/health`);
  return client;
}

function startDaemon(
  children: Children,
  stateDir: string,
  { name, url }: Address,
  hosts: readonly Address[],
): number | undefined {
  mkdirSync(stateDir, { mode: 0o700 });
  const peersFile = join(stateDir, 'peers.yaml');
  const peers = hosts.filter((host) => host.name !== name);
  writeFileSync(peersFile, stringify({ peers }), { mode: 0o600 });
  return children.start(name, [process.execPath, DAEMON], {
    DMAD_STATE_DIR: stateDir,
    DMAD_PORT: new URL(url).port,
    DMAD_DEVICES: DEVICES,
    DMAD_PEERS_FILE: peersFile,
  });
}

function checkEtcd(): void {
  const { error } = spawnSync('etcd', ['--version'], { stdio: 'ignore' });
  if (error === undefined) return;
  throw new StartError(
    'configuration',
    'etcd is not installed, which keeps what a fleet promises: "apt install etcd-server", or put an etcd of 3.4 or later into PATH',
  );
}

async function isReady(url: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    if (performance.now() > deadline) throw new Error(`${url} is not ready after a minute`);
    await sleep(POLL_MS);
  }
}

/** @param preferred is taken if it is free */
function freePort(preferred = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      if (preferred === 0) reject(error);
      else resolve(freePort());
    });
    server.listen(preferred, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : preferred;
      server.close(() => resolve(port));
    });
  });
}

/** What to try, as commands that can be pasted. */
function describe({ gateways, hosts }: Trial, directory: string): string {
  const [first = '', second = ''] = gateways.map(({ url }) => url);
  const [a, b, c] = hosts;
  const members = [...gateways, ...hosts].map(
    ({ name, url, pid }) => `  ${name.padEnd(8)}  ${url}  process ${pid}`,
  );
  const json = "-H 'Content-Type: application/json'";
  return `
A fleet is running: etcd, two gateways and three hosts with emulated devices. Ctrl-C ends all of it.

${members.join('\n')}
  logs      ${directory}/*.log

Each URL has a dashboard, and Swagger UI below /docs.

The hosts, and how they fare:

  curl -sS ${first}/hosts

A fill on ${a?.name}, and a copy on ${b?.name} by the other gateway:

  curl -sS ${first}/transfers ${json} -d '{
    "host": "${a?.name}", "operation": "fill", "device_name": "dax0.0", "dst_offset": 0, "size": "1MiB", "pattern": "ab"}'
  curl -sS ${second}/transfers ${json} -d '{
    "host": "${b?.name}", "device_name": "dax0.0", "dst_device_name": "dax1.0", "src_offset": 0, "dst_offset": 0, "size": "1MiB"}'

All transfers, newest first, from either gateway:

  curl -sS ${second}/transfers

Between hosts: ${b?.name} makes its dax0.0 equal to that of ${a?.name}, which is a replication there; by curl
and by dmactl, which shows how it gets on:

  curl -sS ${first}/transfers ${json} -d '{
    "host": "${a?.name}", "device_name": "dax0.0", "src_offset": 0,
    "dst_host": "${b?.name}", "dst_device_name": "dax0.0", "dst_offset": 0, "size": "4MiB"}'
  npx dmactl --url ${second} copy ${a?.name}/dax0.0:0+4MiB ${b?.name}/dax1.0:0

Several at once, one behind the other, on whatever hosts:

  curl -sS ${first}/transfers/batch ${json} -d '{"transfers": [
    {"host": "${a?.name}", "operation": "fill", "device_name": "dax1.0", "dst_offset": 0, "size": "1MiB", "pattern": "cd"},
    {"host": "${a?.name}", "dst_host": "${c?.name}", "device_name": "dax1.0", "src_offset": 0, "dst_offset": 0,
     "size": "1MiB", "depends_on": ["#0"]}]}'

Kill a gateway (kill -9 PID), or stop a host (kill -STOP PID, and later kill -CONT PID), and see that what was accepted goes on.
`;
}
