// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Pool } from 'undici';
import { EtcdCluster } from '../support/etcd.ts';
import type { Workshop } from './copier.ts';
import { median, type Row, rowOf } from './figures.ts';
import { Server } from './server.ts';

/** Smaller ones are for trying it out. */
const HOSTS = Number(process.env.FLEET_HOSTS ?? 1000);
const TRANSFERS = Number(process.env.FLEET_TRANSFERS ?? 100_000);
const GATEWAYS = 2;
const CONNECTIONS = 32;
/** How many transfers have ended before memory is looked at first: V8's heap has grown by then. */
const WARM = Math.ceil(TRANSFERS / 10);
const ETCD_SECONDS = 5;
const LISTINGS = 20;
/** As clients do with that setting. */
const RETRY_MS = 1000;
const LIFETIME_MS = 3_600_000;
const ETCD_RATE = fileURLToPath(new URL('./etcd-rate.js', import.meta.url));

export const FLEET_ROWS = ['fleet_transfers', 'fleet_memory', 'fleet_list'];

/**
 * Transfers through two gateways to simulated hosts, from the first request until the last has ended,
 * against etcd's own transactions; a gateway's memory; and how long a page of what has ended takes.
 */
export async function fleetRows(workshop: Workshop): Promise<Row[]> {
  const etcd = await EtcdCluster.start(3, ['--quota-backend-bytes', String(8 * 2 ** 30)], {
    lifetimeMs: LIFETIME_MS,
  });
  const servers: Server[] = [];
  try {
    const hosts = await Server.standIn(workshop.directory);
    servers.push(hosts);
    for (let index = 0; index < GATEWAYS; index++) {
      servers.push(await Server.gateway(workshop.directory, etcd.urls));
    }
    const gateways = servers.slice(1);
    const pools = gateways.map(({ url }) => new Pool(url, { connections: CONNECTIONS }));
    const [first] = pools as [Pool];
    for (const pool of pools) await until(async () => (await get(pool, '/readyz')).status === 200);
    await addHosts(first, hosts.url);

    const before = await etcdRate(etcd.urls);
    await run(pools, 0, WARM);
    const memory = median(gateways.map((gateway) => gateway.memory)) / 1e6;
    const perSecond = await run(pools, WARM, TRANSFERS);
    const after = await etcdRate(etcd.urls);
    await sleep(2000);
    const memoryAfter = median(gateways.map((gateway) => gateway.memory)) / 1e6;
    const listing = await listingMs(first, '/transfers?page_size=100');
    const probe = await listingMs(first, '/livez');
    await Promise.all(pools.map((pool) => pool.close()));
    const grown = `${(memoryAfter - memory).toFixed(0)} MB more`;
    return [
      rowOf(
        'fleet_transfers',
        'transfers/s',
        [{ value: perSecond, peer: (before + after) / 2 }],
        `etcd's transactions of one put each, from ${GATEWAYS} clients; ${HOSTS} hosts, ${TRANSFERS} transfers`,
      ),
      rowOf(
        'fleet_memory',
        'MB',
        [{ value: memoryAfter, peer: memory }],
        `after ${WARM} transfers; ${grown}`,
      ),
      rowOf(
        'fleet_list',
        'ms',
        [{ value: listing, peer: probe }],
        `GET /livez; a page of 100 of ${TRANSFERS}`,
      ),
    ];
  } finally {
    for (const server of servers.toReversed()) await server.stop();
    await etcd.stop();
  }
}

async function addHosts(pool: Pool, url: string): Promise<void> {
  let next = 0;
  const add = async () => {
    while (next < HOSTS) {
      const name = `h${next++}`;
      const body = JSON.stringify({ url: `${url}/${name}` });
      const path = `/hosts/${name}`;
      const answer = await pool.request({ method: 'PUT', path, headers: JSON_TYPE, body });
      await answer.body.dump();
      if (answer.statusCode !== 201) throw new Error(`a host was refused: ${answer.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, add));
  await until(async () => {
    const { hosts } = JSON.parse((await get(pool, '/hosts')).text);
    return hosts.every(({ state }: { state: string }) => state === 'ready');
  });
}

/** Sends transfers to gateways and hosts in turn. @returns how many a second, until the last has ended */
async function run(pools: readonly Pool[], from: number, to: number): Promise<number> {
  const began = performance.now();
  let next = from;
  const send = async (pool: Pool) => {
    while (next < to) {
      const index = next++;
      const body = JSON.stringify({
        ...{ host: `h${(index * 7919) % HOSTS}`, device_name: 'dax0.0', dst_device_name: 'dax1.0' },
        ...{ src_offset: 0, dst_offset: 0, size: 4096 },
      });
      const headers = { ...JSON_TYPE, prefer: 'respond-async' };
      for (let accepted = false; !accepted; ) {
        const answer = await pool.request({ method: 'POST', path: '/transfers', headers, body });
        const text = await answer.body.text();
        accepted = answer.statusCode === 202;
        if (answer.statusCode === 503) await sleep(RETRY_MS);
        else if (!accepted) throw new Error(`${answer.statusCode}: ${text}`);
      }
    }
  };
  await Promise.all(pools.flatMap((pool) => Array.from({ length: CONNECTIONS }, () => send(pool))));
  for (const pool of pools) await until(async () => (await ended(pool)) >= to);
  return ((to - from) / (performance.now() - began)) * 1000;
}

/** How many transfers a gateway has seen end. */
async function ended(pool: Pool): Promise<number> {
  const { text } = await get(pool, '/metrics');
  const count = (status: string) =>
    Number(
      new RegExp(
        `^dmad_fleet_transfers_total\\{operation="copy",status="${status}"\\} (\\d+)$`,
        'm',
      ).exec(text)?.[1],
    );
  if (count('failed') + count('interrupted') + count('cancelled') > 0)
    throw new Error('not all succeeded');
  return count('succeeded');
}

/** etcd's own rate, by as many clients as there are gateways. */
async function etcdRate(urls: string): Promise<number> {
  const clients = Array.from({ length: GATEWAYS }, async () => {
    const args = [ETCD_RATE, urls, String(ETCD_SECONDS)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return (JSON.parse(stdout) as { perSecond: number }).perSecond;
  });
  return (await Promise.all(clients)).reduce((sum, each) => sum + each, 0);
}

async function listingMs(pool: Pool, path: string): Promise<number> {
  const taken: number[] = [];
  for (let count = 0; count < LISTINGS; count++) {
    const began = performance.now();
    const { status } = await get(pool, path);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    taken.push(performance.now() - began);
  }
  return median(taken);
}

const JSON_TYPE = { 'content-type': 'application/json' };

async function get(pool: Pool, path: string): Promise<{ status: number; text: string }> {
  const answer = await pool.request({ method: 'GET', path });
  return { status: answer.statusCode, text: await answer.body.text() };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50);
}
