// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { MEMORY_DIR, type Workshop } from './copier.ts';
import { type Row, repeat, rowOf, skipped } from './figures.ts';
import { alsoMapped, filesOf, oneDevice, readName } from './mapped.ts';
import { Server } from './server.ts';

const GIB = 2 ** 30;
const CONTENT = '/devices/dax0.0/content';
const NGINX = '/usr/sbin/nginx';
/** Of the clock in which the kernel counts a process's time. */
const TICKS_PER_SECOND = 100;

type Direction = 'get' | 'put';

const DIRECTIONS = { download: 'get', upload: 'put' } as const satisfies Record<string, Direction>;
const MORE_CONNECTIONS = [8, 64];

export const CPU_ROWS = alsoMapped(['download_cpu', 'upload_cpu']);
export const RATE_ROWS = Object.keys(DIRECTIONS).flatMap((name) => [
  ...alsoMapped([name, `${name}_loop_1`]),
  ...MORE_CONNECTIONS.map((count) => `${name}_loop_${count}`),
]);
export const NGINX_ROW = 'download_nginx';

/** A server of 1 GiB, whichever it is. */
interface Peer {
  port: number;
  path: string;
  pid: number;
  stop(): Promise<void>;
}

/** Moves 1 GiB over some connections, by native/content.c. @returns how long it took, in ns */
async function move(
  workshop: Workshop,
  direction: Direction,
  { port, path }: Peer,
  connections: number,
): Promise<number> {
  const args = [direction, port, path, GIB / connections, connections].map(String);
  return Number((await promisify(execFile)(workshop.program('content'), args)).stdout);
}

/** Processor time that a process has used, all its threads together, in seconds. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Seconds of the server's processors for each GiB on one connection, with all that it does. */
export async function cpuRow(workshop: Workshop, name: string): Promise<Row> {
  const direction = readName(name).row === 'upload_cpu' ? 'put' : 'get';
  const files = filesOf(workshop, name, 2 * GIB);
  return withPeers([daemon(workshop, files), loop(workshop, files)], async ([ours, theirs]) => {
    const cpu = async (peer: Peer) => {
      const before = cpuSeconds(peer.pid);
      await move(workshop, direction, peer, 1);
      return cpuSeconds(peer.pid) - before;
    };
    const pairs = await measure(
      7,
      () => cpu(ours),
      () => cpu(theirs),
    );
    const loopOf = direction === 'get' ? 'send' : 'recv';
    return rowOf(name, 's/GiB', pairs, `a loop of ${loopOf} in C on a mapping; lower is better`);
  });
}

/** GB/s by a client that is not the limit: against a bare Fastify stream, or the loop in C. */
export async function rateRow(workshop: Workshop, name: string): Promise<Row> {
  const [kind, against, count = '1'] = readName(name).row.split('_') as [
    keyof typeof DIRECTIONS,
    string?,
    string?,
  ];
  const files = filesOf(workshop, name, 2 * GIB);
  const other = against === undefined ? bare(workshop) : loop(workshop, files);
  return withPeers([daemon(workshop, files), other], async ([ours, theirs]) => {
    const rate = async (peer: Peer) =>
      GIB / (await move(workshop, DIRECTIONS[kind], peer, Number(count)));
    const pairs = await measure(
      9,
      () => rate(ours),
      () => rate(theirs),
    );
    const peer = against === undefined ? 'bare Fastify stream' : 'a loop in C on a mapping';
    const connections = `${count} connection${count === '1' ? '' : 's'}`;
    return rowOf(name, 'GB/s', pairs, `${peer}; ${connections}, a client in C`);
  });
}

/** The same against nginx, which sends the pages of a file in memory without copying them. */
export async function nginxRow(workshop: Workshop): Promise<Row> {
  if (!existsSync(NGINX)) return skipped(NGINX_ROW, 'nginx is not installed');
  return withPeers(
    [daemon(workshop, workshop.directory), nginx(workshop)],
    async ([ours, theirs]) => {
      const rate = async (peer: Peer) => GIB / (await move(workshop, 'get', peer, 1));
      const pairs = await measure(
        9,
        () => rate(ours),
        () => rate(theirs),
      );
      return rowOf(
        NGINX_ROW,
        'GB/s',
        pairs,
        `nginx with sendfile from ${MEMORY_DIR}; a client in C`,
      );
    },
  );
}

async function measure(times: number, value: () => Promise<number>, peer: () => Promise<number>) {
  await repeat(2, value, peer);
  return repeat(times, value, peer);
}

/** Two servers for as long as some work takes. */
async function withPeers<Result>(
  starting: [Promise<Peer>, Promise<Peer>],
  work: (peers: [Peer, Peer]) => Promise<Result>,
): Promise<Result> {
  const started = await Promise.allSettled(starting);
  try {
    return await work(await Promise.all(starting));
  } finally {
    for (const each of started) if (each.status === 'fulfilled') await each.value.stop();
  }
}

/** With bytes in all of its device: a hole has none to be read. */
async function daemon(workshop: Workshop, files: string): Promise<Peer> {
  const peer = asPeer(await oneDevice(workshop, files, GIB));
  await move(workshop, 'put', peer, 1);
  return peer;
}

async function bare(workshop: Workshop): Promise<Peer> {
  return asPeer(await Server.bare(workshop.directory));
}

function asPeer(server: Server): Peer {
  const { url, pid } = server;
  return { port: Number(new URL(url).port), path: CONTENT, pid, stop: () => server.stop() };
}

async function loop(workshop: Workshop, files: string): Promise<Peer> {
  const path = join(files, 'looped');
  // Its pages are there once it is mapped.
  writeFileSync(path, '', { mode: 0o600 });
  truncateSync(path, GIB);
  const child = spawn(workshop.program('content'), ['serve', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = await once(createInterface({ input: child.stdout }), 'line');
  return {
    ...{ port: Number(port), path: CONTENT, pid: child.pid as number },
    stop: () => stop(child, path),
  };
}

async function nginx(workshop: Workshop): Promise<Peer> {
  const path = join(workshop.directory, 'served');
  fill(path);
  const port = await freePort();
  const configuration = join(workshop.directory, 'nginx.conf');
  const directory = workshop.directory;
  writeFileSync(
    configuration,
    `user ${userInfo().username}; daemon off; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr crit;
events { worker_connections 128; }
http {
  access_log off; sendfile on; sendfile_max_chunk 0; client_body_temp_path ${directory}/body;
  server { listen 127.0.0.1:${port}; root ${directory}; }
}
`,
  );
  const child = spawn(NGINX, ['-c', configuration, '-p', directory], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`);
    await sleep(10);
  }
  return {
    ...{ port, path: '/served', pid: child.pid as number },
    stop: () => stop(child, path),
  };
}

/** Makes a file of 1 GiB, all of whose pages are there. */
function fill(path: string): void {
  const descriptor = openSync(path, 'w', 0o644);
  const piece = Buffer.alloc(2 ** 20, 7);
  for (let at = 0; at < GIB; at += piece.length) writeFileSync(descriptor, piece);
  closeSync(descriptor);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.once('error', () => resolve(false)).once('connect', () => socket.destroy());
  });
}

async function stop(child: ChildProcess, path: string): Promise<void> {
  if (child.exitCode === null) {
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  }
  rmSync(path);
}
