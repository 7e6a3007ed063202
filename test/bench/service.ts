// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'undici';
import type { Workshop } from './copier.ts';
import { median, type Pair, type Row, repeat, rowOf } from './figures.ts';
import { load, sideBySide, transfer, transferBody } from './http.ts';
import { Server, withServers } from './server.ts';

const MIB = 2 ** 20;
const LARGE = 256 * MIB;
/** 10 GiB, all between the same two ranges. */
const ALL_DAY = transferBody({
  segments: Array(40).fill({ src_offset: 0, dst_offset: 0, size: LARGE }),
  ...{ durability: 'none', priority: 'low' },
});

/** Copies 10 GiB of low priority, again and again, while something is measured. */
async function whileCopying<Result>(daemon: Server, work: () => Promise<Result>): Promise<Result> {
  const client = new Client(daemon.url);
  let busy = true;
  const copying = (async () => {
    while (busy) await transfer(client, ALL_DAY);
  })();
  try {
    return await work();
  } finally {
    busy = false;
    await copying;
    await client.close();
  }
}

export const MIXED_ROW = 'mixed_p99';

/** 1,000 small transfers beside a large one, against the same without. */
export function mixedRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, LARGE + MIB, async (daemon) => {
    // Beside the bytes of the large one, for which it would have to wait.
    const small = { connections: 4, offset: LARGE, count: 1000 };
    await load(daemon, { ...small, count: 20_000 });
    const p99 = async () => (await load(daemon, small)).p99;
    const pairs = await repeat(7, () => whileCopying(daemon, p99), p99);
    return rowOf(MIXED_ROW, 'ms', pairs, 'the same without the large transfer; 4 connections');
  });
}

export const LAG_ROW = 'event_loop_p99';

/** How long a request waits that needs nothing but the event loop: GET /livez, during copies. */
export function lagRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, LARGE, async (daemon) => {
    const client = new Client(daemon.url);
    const p99 = () => livezP99(client);
    await p99();
    const pairs = await repeat(7, () => whileCopying(daemon, p99), p99);
    await client.close();
    return rowOf(LAG_ROW, 'ms', pairs, 'the same while nothing is copied');
  });
}

/** The 99th percentile of 500 requests one after the other, in milliseconds. */
async function livezP99(client: Client): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < 500; n++) {
    const began = performance.now();
    await (await client.request({ method: 'GET', path: '/livez' })).body.text();
    taken.push(performance.now() - began);
  }
  return taken.sort((a, b) => a - b)[495] as number;
}

export const DIGEST_LAG_ROW = 'digest_64GiB_livez_p99';
const DIGESTED = 64 * 2 ** 30;

/** The same while all of a device of 64 GiB is hashed; and transfers, which must go on beside it. */
export function digestLagRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, DIGESTED, async (daemon) => {
    const client = new Client(daemon.url);
    const p99 = () => livezP99(client);
    const small = { connections: 4, count: 1000 };
    await load(daemon, { ...small, count: 20_000 });
    const pairs = await repeat(7, () => whileDigesting(daemon, p99), p99);
    const beside = await whileDigesting(daemon, () => load(daemon, small));
    const alone = await load(daemon, small);
    await client.close();
    const transfers = `${beside.perSecond.toFixed(0)} transfers/s beside it, ${alone.perSecond.toFixed(0)} alone`;
    return rowOf(DIGEST_LAG_ROW, 'ms', pairs, `the same while nothing is hashed; ${transfers}`);
  });
}

/** Has a device of 64 GiB hashed, again if it is over, while something is measured. */
async function whileDigesting<Result>(
  daemon: Server,
  work: () => Promise<Result>,
): Promise<Result> {
  const client = new Client(daemon.url);
  const enough = new AbortController();
  const digesting = (async () => {
    while (!enough.signal.aborted) {
      const answer = await client.request({
        ...{ method: 'GET', path: '/devices/dax0.0/digests', signal: enough.signal },
        headers: { accept: 'application/octet-stream' },
      });
      if (answer.statusCode !== 200) throw new Error(await answer.body.text());
      await answer.body.arrayBuffer();
    }
  })();
  try {
    return await Promise.race([
      work(),
      digesting.then(() => Promise.reject(new Error('no digests'))),
    ]);
  } finally {
    enough.abort();
    await digesting.catch(() => {});
    await client.destroy();
  }
}

export const START_ROWS = ['start', 'start_cpu'];

/** From the start of the process until it serves, against a bare Fastify server: how long, and what CPU. */
export async function startRows({ directory }: Workshop): Promise<Row[]> {
  const times: Pair[] = [];
  const costs: Pair[] = [];
  const start = async (starting: Promise<Server>) => {
    const server = await starting;
    const cpuMs = server.cpuSeconds * 1000;
    await server.stop();
    return { ms: server.startMs, cpuMs };
  };
  for (let round = 0; round < 15; round++) {
    const daemon = () => start(Server.daemon(directory, MIB));
    const bare = () => start(Server.bare(directory));
    const first = round % 2 === 0 ? daemon : bare;
    const one = await first();
    const other = await (first === daemon ? bare : daemon)();
    const [ours, theirs] = round % 2 === 0 ? [one, other] : [other, one];
    times.push({ value: ours.ms, peer: theirs.ms });
    costs.push({ value: ours.cpuMs, peer: theirs.cpuMs });
  }
  const peer = 'bare Fastify server';
  return [
    rowOf('start', 'ms', times, peer),
    rowOf('start_cpu', 'ms', costs, `${peer}; CPU time until then`),
  ];
}

export const MEMORY_ROW = 'rss_1M';

/** Resident memory after 1,000,000 transfers against after 10,000. */
export function memoryRow(workshop: Workshop): Promise<Row> {
  return withServers(workshop.directory, MIB, async (daemon) => {
    await load(daemon, { connections: 64, count: 10_000 });
    const before = await settled(daemon);
    await load(daemon, { connections: 64, count: 990_000 });
    const pair: Pair = { value: (await settled(daemon)) / 1e6, peer: before / 1e6 };
    const grown = (pair.value - pair.peer).toFixed(1);
    return rowOf(MEMORY_ROW, 'MB', [pair], `after 10,000 transfers: ${grown} MB more`);
  });
}

export const HOUR_ROW = 'segments_hour';

/**
 * 10,000 segments a second for an hour, in transfers of 100: resident memory after it against
 * after ten minutes, when as many transfers as are kept have long ended.
 */
export function hourRow(workshop: Workshop): Promise<Row> {
  const count = 100;
  const body = transferBody({ segments: sideBySide(count, 4096), durability: 'none' });
  return withServers(workshop.directory, MIB, async (daemon) => {
    const client = new Client(daemon.url);
    const began = performance.now();
    let sent = 0;
    const until = async (minute: number) => {
      for (; sent < minute * 60 * 100; sent++) {
        await sleep(began + sent * 10 - performance.now());
        await transfer(client, body);
      }
      return (await settled(daemon)) / 1e6;
    };
    const pair: Pair = { peer: await until(10), value: await until(60) };
    const perSecond = ((sent * count) / (performance.now() - began)) * 1000;
    await client.close();
    const note = `after ten minutes of the hour; ${perSecond.toFixed(0)} segments a second`;
    return rowOf(HOUR_ROW, 'MB', [pair], note);
  });
}

/** The middle of what it has in some seconds: garbage comes and goes. */
async function settled(daemon: Server): Promise<number> {
  const samples: number[] = [];
  for (let n = 0; n < 21; n++) {
    samples.push(daemon.memory);
    await sleep(100);
  }
  return median(samples);
}
