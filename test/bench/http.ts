// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client } from 'undici';
import type { Workshop } from './copier.ts';
import { type Pair, type Row, repeat, rowOf } from './figures.ts';
import { alsoMapped, filesOf, oneDevice } from './mapped.ts';
import { type Server, withServers } from './server.ts';

const LOAD = fileURLToPath(new URL('./load.js', import.meta.url));
const MIB = 2 ** 20;
const LARGE = 256 * MIB;

interface Load {
  answers: number;
  perSecond: number;
  p50: number;
  p99: number;
}

/** Sends transfers of 4 KiB to a server, from a process of its own. */
export async function load(
  server: Server,
  options: { connections: number; offset?: number; count?: number; seconds?: number },
): Promise<Load> {
  const { connections, offset = 0, count = 1e9, seconds = 600 } = options;
  const args = [LOAD, server.url, connections, offset, count, seconds].map(String);
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout);
}

/** The body of a transfer between the daemon's two devices. */
export function transferBody(members: object): string {
  return JSON.stringify({ device_name: 'dax0.0', dst_device_name: 'dax1.0', ...members });
}

/** Segments one behind the other, from where they are to the same place. */
export function sideBySide(count: number, size: number) {
  return Array.from({ length: count }, (_, index) => ({
    ...{ src_offset: index * size, dst_offset: index * size, size },
  }));
}

/** Sends a transfer and waits for its end. */
export async function transfer(client: Client, body: string): Promise<void> {
  const answer = await client.request({
    method: 'POST',
    path: '/transfers',
    headers: { 'content-type': 'application/json', prefer: 'wait=60' },
    body,
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 201) throw new Error(`${answer.statusCode}: ${text}`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

export const SMALL_ROWS = ['http_4KiB_rps', 'http_4KiB_p99', 'http_4KiB_cpu'];

/** Has the just-in-time compiler do its work on a server: a daemon that was just started is slower. */
async function warmUp(server: Server): Promise<void> {
  await load(server, { connections: 64, seconds: 3 });
}

/** Transfers of 4 KiB on 64 connections, against a bare route: how many, how long they take, and what CPU. */
export function smallRows(workshop: Workshop): Promise<Row[]> {
  return withServers(workshop.directory, MIB, async (daemon, bare) => {
    const rates: Pair[] = [];
    const delays: Pair[] = [];
    const costs: Pair[] = [];
    const one = async (server: Server, seconds: number) => {
      const before = server.cpuSeconds;
      const loaded = await load(server, { connections: 64, seconds });
      return { ...loaded, cpuUs: ((server.cpuSeconds - before) / loaded.answers) * 1e6 };
    };
    for (const server of [daemon, bare]) await warmUp(server);
    for (let round = 0; round < 7; round++) {
      const first = round % 2 === 0 ? daemon : bare;
      const loads = new Map([[first, await one(first, 2)]]);
      const second = first === daemon ? bare : daemon;
      loads.set(second, await one(second, 2));
      type Measured = Awaited<ReturnType<typeof one>>;
      const [ours, theirs] = [loads.get(daemon) as Measured, loads.get(bare) as Measured];
      rates.push({ value: ours.perSecond, peer: theirs.perSecond });
      delays.push({ value: ours.p99, peer: theirs.p99 });
      costs.push({ value: ours.cpuUs, peer: theirs.cpuUs });
    }
    const peer = 'bare Fastify route, same schemas and logger; 64 connections';
    return [
      rowOf('http_4KiB_rps', 'transfers/s', rates, peer),
      rowOf('http_4KiB_p99', 'ms', delays, peer),
      rowOf('http_4KiB_cpu', 'µs', costs, `${peer}; the server's CPU time for each`),
    ];
  });
}

export const LARGE_ROW = 'http_256MiB';

/** One large transfer over HTTP against the engine alone, each between files of its own. */
export function largeRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, LARGE, (daemon) =>
    workshop.withFiles(LARGE, async (copier) => {
      await warmUp(daemon);
      const client = new Client(daemon.url);
      const range = { src_offset: 0, dst_offset: 0, size: LARGE };
      const body = transferBody({ ...range, durability: 'none' });
      const ours = async () => LARGE / (await timed(() => transfer(client, body))) / 1e6;
      const engine = () => copier.speed('job', LARGE, 1);
      await repeat(2, ours, engine);
      const row = rowOf(LARGE_ROW, 'GB/s', await repeat(15, ours, engine), 'the engine alone');
      await client.close();
      return row;
    }),
  );
}

export const SEGMENT_ROWS = ['segments_4096', 'segments_4096_minimal', 'segments_4096_engine'];

/** Many small pieces at once against memcpy of the same: as one request, and as one job. */
export function segmentRow(workshop: Workshop, name: string): Promise<Row> {
  const count = 4096;
  const size = 4096;
  if (name === 'segments_4096_engine') {
    return workshop.withFiles(count * size, async (copier) => {
      const ours = () => copier.speed('job', size, count);
      const memcpy = () => copier.speed('memcpy', size, count);
      await repeat(2, ours, memcpy);
      return rowOf(name, 'GB/s', await repeat(41, ours, memcpy), 'memcpy; the job without HTTP');
    });
  }
  return withServers(workshop.directory, count * size, async (daemon) => {
    const copier = workshop.copier(daemon.deviceFiles);
    const body = transferBody({ segments: sideBySide(count, size), durability: 'none' });
    const prefer = name === 'segments_4096_minimal' ? 'wait=60, return=minimal' : 'wait=60';
    const header = [
      ...['POST /transfers HTTP/1.1', 'host: localhost', 'content-type: application/json'],
      ...[`prefer: ${prefer}`, `content-length: ${body.length}`],
    ];
    const client = workshop.repeater(daemon.url, `${header.join('\r\n')}\r\n\r\n${body}`);
    const ours = async () => (count * size) / (await client.time('again'));
    const memcpy = () => copier.speed('memcpy', size, count);
    await repeat(200, ours, memcpy);
    const row = rowOf(name, 'GB/s', await repeat(41, ours, memcpy), 'memcpy of the same pieces');
    copier.end();
    client.end();
    return row;
  });
}

export const DIGESTS_ROWS = alsoMapped(['digests_1GiB']);
const GIB = 1024 * MIB;

/** Digests of 1 GiB against one thread that hashes as much, for each thread that the daemon uses. */
export async function digestsRow(workshop: Workshop, name: string): Promise<Row> {
  const daemon = await oneDevice(workshop, filesOf(workshop, name, GIB), GIB);
  try {
    const client = new Client(daemon.url);
    const engines = await (await client.request({ method: 'GET', path: '/engines' })).body.json();
    const { threads } = (engines as { cpu: { threads: number } }).cpu;
    const ours = async () => GIB / (await timed(() => digest(client))) / 1e6 / threads;
    const block = Buffer.alloc(MIB, 7);
    const hash = async () => {
      for (let done = 0; done < GIB; done += MIB) createHash('sha256').update(block).digest();
    };
    const theirs = async () => GIB / (await timed(hash)) / 1e6;
    await repeat(1, ours, theirs);
    const pairs = await repeat(5, ours, theirs);
    await client.close();
    const peer = `SHA-256 of OpenSSL on one thread; the daemon's rate for each of ${threads}`;
    return rowOf(name, 'GB/s', pairs, peer);
  } finally {
    await daemon.stop();
  }
}

async function digest(client: Client): Promise<void> {
  const answer = await client.request({
    method: 'GET',
    path: '/devices/dax0.0/digests',
    headers: { accept: 'application/octet-stream' },
  });
  const bytes = await answer.body.arrayBuffer();
  if (bytes.byteLength !== (GIB / MIB) * 32) throw new Error(`${answer.statusCode}`);
}
