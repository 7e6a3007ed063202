// SPDX-License-Identifier: Apache-2.0
import { Client, Pool } from 'undici';
import type { Workshop } from './copier.ts';
import { type Pair, type Row, repeat, rowOf } from './figures.ts';
import { load } from './http.ts';
import { type Server, withServers } from './server.ts';

const MIB = 2 ** 20;
const QUEUED = 100_000;
const PART = 10_000;
const STREAMS = 1000;
const DASHBOARDS = 10;
const HEADERS = { 'content-type': 'application/json', prefer: 'respond-async' };
const DEVICES = { device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' };
const LARGE = 256 * MIB;
/** A TiB: goes on until it is cancelled. */
const ENDLESS = {
  ...DEVICES,
  segments: Array(4096).fill({ src_offset: 0, dst_offset: 0, size: LARGE }),
  priority: 'low',
};

export const QUEUE_ROW = 'queue_100k';

/** Transfers accepted a second when 90,000 wait already, against when none does. */
export function queueRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, LARGE, async (daemon) => {
    const pool = new Pool(daemon.url, { connections: 64 });
    const id = await accept(pool, ENDLESS);
    const rate = async (from: number) => {
      const began = performance.now();
      let next = from;
      const connection = async () => {
        while (next < from + PART) {
          const at = (next++ % 10_000) * 4096;
          await accept(pool, { ...DEVICES, src_offset: at, dst_offset: at, size: 4096 });
        }
      };
      await Promise.all(Array.from({ length: 64 }, connection));
      return (PART / (performance.now() - began)) * 1000;
    };
    const rates: number[] = [];
    for (let from = 0; from < QUEUED - PART; from += PART) rates.push(await rate(from));
    const value = await rate(QUEUED - PART);
    await cancel(pool, id);
    await pool.close();
    // The first part is the compiler's.
    const pair: Pair = { value, peer: rates[1] as number };
    return rowOf(QUEUE_ROW, 'transfers/s', [pair], 'accepted with 10,000 waiting, not 90,000');
  });
}

export const STREAMS_ROW = 'streams_1000';

/** Transfers a second while 1,000 event streams wait for a transfer, against while none does. */
export function streamsRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, LARGE + MIB, async (daemon) => {
    const client = new Client(daemon.url);
    // Beside the bytes of the endless one, for which the others wait.
    const rate = async () =>
      (await load(daemon, { connections: 64, offset: LARGE, seconds: 2 })).perSecond;
    await rate();
    const endless = await accept(client, ENDLESS);
    const watched = async () => {
      const id = await accept(client, { ...DEVICES, src_offset: 0, dst_offset: 0, size: 4096 });
      const ends = Array.from({ length: STREAMS }, () => watch(daemon, id));
      const perSecond = await rate();
      await cancel(client, id);
      for (const text of await Promise.all(ends)) {
        if (!text.includes('"status":"cancelled"')) throw new Error('a stream was cut short');
      }
      return perSecond;
    };
    const pairs = await repeat(5, watched, rate);
    await cancel(client, endless);
    await client.close();
    return rowOf(STREAMS_ROW, 'transfers/s', pairs, 'the same while nobody watches');
  });
}

export const DASHBOARDS_ROW = 'dashboards_10';

/** Transfers of 4 KiB a second while ten dashboards show them, against while none does. */
export function dashboardsRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, MIB, async (daemon) => {
    const rate = async () => (await load(daemon, { connections: 64, seconds: 2 })).perSecond;
    await rate();
    const watched = async () => {
      const dashboards = await Promise.all(Array.from({ length: DASHBOARDS }, () => show(daemon)));
      const perSecond = await rate();
      for (const dashboard of dashboards) await dashboard.destroy();
      return perSecond;
    };
    const pairs = await repeat(7, watched, rate);
    return rowOf(DASHBOARDS_ROW, 'transfers/s', pairs, 'the same while no dashboard is open');
  });
}

/** The stream that a dashboard reads, read and thrown away until it is destroyed. */
async function show(daemon: Server): Promise<Client> {
  const client = new Client(daemon.url, { bodyTimeout: 0 });
  const answer = await client.request({ method: 'GET', path: '/events?interval_ms=150' });
  if (answer.statusCode !== 200) throw new Error(`a stream was refused: ${answer.statusCode}`);
  answer.body.on('error', () => {}).resume();
  return client;
}

type Sender = Pick<Client, 'request'>;

/** @returns the transfer's id */
async function accept(sender: Sender, body: object): Promise<string> {
  const request = { path: '/transfers', headers: HEADERS, body: JSON.stringify(body) };
  const answer = await sender.request({ method: 'POST', ...request });
  const text = await answer.body.text();
  if (answer.statusCode !== 202) throw new Error(`${answer.statusCode}: ${text}`);
  return JSON.parse(text).id;
}

async function cancel(sender: Sender, id: string): Promise<void> {
  const answer = await sender.request({ method: 'POST', path: `/transfers/${id}/cancel` });
  await answer.body.dump();
}

/** @returns all that a transfer's stream has to say */
async function watch(daemon: Server, id: string): Promise<string> {
  const client = new Client(daemon.url, { bodyTimeout: 0 });
  const answer = await client.request({ method: 'GET', path: `/transfers/${id}/events` });
  if (answer.statusCode !== 200) throw new Error(`a stream was refused: ${answer.statusCode}`);
  const text = await answer.body.text();
  await client.close();
  return text;
}
