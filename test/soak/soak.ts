// SPDX-License-Identifier: Apache-2.0
// Runs the daemon under a mixed load, kills it at random moments, and ends with an error if a transfer
// is lost, a byte is wrong, or memory grows. Meanwhile whoever reads its log stalls, goes and comes
// back, or the log's disk is full; and half of the clients come through nginx, where that is installed.
// Usage: soak [SECONDS], 180 by default.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkKeys, clientOf, waitForIdle } from '../support/crash-client.ts';
import { devicesFor, Worker } from '../support/crash-load.ts';
import { Daemon } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { NGINX, Nginx } from '../support/nginx.ts';
import { Random } from '../support/random.ts';
import { annoy, FLOODED, figures, flood, probe, watch } from './clients.ts';
import { LogReader } from './log-reader.ts';

const WORKERS = 4;
const FLOODERS = 4;
/** The last part of the time goes by without a kill, to see whether memory grows. */
const QUIET_PART = 1 / 3;
const WARM_UP_PART = 1 / 4;
/** How many of the others run with a full disk for their log. */
const FULL_DISK_ONE_IN = 4;
/** What a transfer with a key takes of memory, for a day. In bytes. */
const KEPT_BYTES = 2500;
/** What the history of transfers without a key may take beside that. In bytes. */
const MAX_GROWTH = 50e6;
const REPORT_MEMORY = new URL('./report-memory.js', import.meta.url).href;
const RELIEF_MS = 60_000;
const SETTLE_TRIES = 3;

const seconds = Number(process.argv[2] ?? 180);
assert.ok(seconds >= 10, 'usage: soak [SECONDS], at least 10');
const lifetimeMs = seconds * 1000 + 600_000;
const random = new Random();

/** Memory that the daemon holds, in bytes. */
async function memoryOf(daemon: Daemon, reportPath: string): Promise<number> {
  const reports = () =>
    existsSync(reportPath) ? readFileSync(reportPath, 'utf8').split('\n').slice(0, -1) : [];
  const known = reports().length;
  daemon.child.kill('SIGUSR2');
  for (let tries = 0; reports().length === known; tries++) {
    assert.ok(tries < 600, 'the daemon does not say how much memory it holds');
    await sleep(1000);
  }
  return Number(reports().at(-1));
}

function journalSize(stateDir: string): number {
  const directory = join(stateDir, 'journal');
  return readdirSync(directory).reduce((sum, name) => {
    const file = statSync(join(directory, name), { throwIfNoEntry: false });
    return sum + (file?.size ?? 0);
  }, 0);
}

/** Once it lets clients in. */
async function waitUntilReady(url: string, daemon: Daemon): Promise<void> {
  for (;;) {
    const state = await clientOf(url)
      .isReady()
      .catch(() => undefined);
    if (state?.ready) return;
    const ended = await Promise.race([daemon.exited, sleep(50, undefined)]);
    assert.equal(ended, undefined, `the daemon ended: ${JSON.stringify(ended)}`);
  }
}

/**
 * Waits until all that was asked for has ended, and compares every byte. Again if a request fails:
 * fetch may take a connection to the daemon before, on the same port, that is only just closing.
 */
async function settle(url: string, workers: readonly Worker[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await allOf(workers.map((worker) => worker.resolve(url)));
      await waitForIdle(url);
      await allOf(workers.map((worker) => worker.check(url)));
      await checkKeys(url, new Set());
      return;
    } catch (error) {
      if (error instanceof assert.AssertionError || tries === SETTLE_TRIES) throw error;
    }
  }
}

/** Like Promise.all(), but nothing goes on behind the error that it throws. */
async function allOf(works: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

/** Once its log is read again, the daemon must find nothing wrong with it. */
async function checkLog(url: string): Promise<void> {
  const end = performance.now() + RELIEF_MS;
  for (;;) {
    const { degraded: troubles = [] } = await clientOf(url).isReady();
    if (!troubles.some((trouble) => trouble.startsWith('log:'))) return;
    assert.ok(performance.now() < end, `its log is read again: ${troubles}`);
    await sleep(500);
  }
}

/** @returns undefined if it is not installed */
async function startProxy(url: string): Promise<Nginx | undefined> {
  if (!existsSync(NGINX)) {
    console.error(`no ${NGINX}: all clients come without a proxy`);
    return undefined;
  }
  // But for its log, the settings that nginx has by itself.
  const server = `client_max_body_size 1m; error_log /dev/null; location / { proxy_pass ${url}; }`;
  return Nginx.start(server, lifetimeMs);
}

async function soak(
  stateDir: string,
  port: number,
  log: LogReader,
  nginx: Nginx | undefined,
): Promise<void> {
  const workers = Array.from({ length: WORKERS }, (_, index) => new Worker(index, random));
  const url = urlOf(port);
  /** By turns with a proxy and without. */
  const urlFor = (client: number) => (client % 2 === 0 ? url : (nginx?.url ?? url));
  const SOAK_REPORT = join(stateDir, 'memory');
  const environment = {
    ...{ DMAD_STATE_DIR: join(stateDir, 'state'), DMAD_PORT: String(port), SOAK_REPORT },
    NODE_OPTIONS: `--import=${REPORT_MEMORY}`,
    DMAD_DEVICES: `${devicesFor(WORKERS)},emulated:${FLOODED}=1MiB`,
  };
  const end = performance.now() + seconds * 1000;
  const quietMs = seconds * 1000 * QUIET_PART;
  const ended = { kills: 0, fullDisks: 0, journalBytes: 0, grownBytes: 0 };
  for (let last = false; !last; ) {
    last = performance.now() > end - quietMs;
    const fullDisk = !last && random.integer(1, FULL_DISK_ONE_IN) === 1;
    if (fullDisk) ended.fullDisks++;
    else log.start();
    const wrapper = ['sh', '-c', `exec "$@" >${fullDisk ? '/dev/full' : log.path}`, 'sh'];
    const daemon = new Daemon(environment, { wrapper, lifetimeMs });
    const done = new AbortController();
    try {
      await waitUntilReady(url, daemon);
      await settle(url, workers);
      const unexplained = async () =>
        (await memoryOf(daemon, SOAK_REPORT)) - acceptedBy(workers) * KEPT_BYTES;
      const clients = Promise.all([
        ...workers.map((worker, n) => worker.work(urlFor(n))),
        ...Array.from({ length: FLOODERS }, (_, n) => flood(urlFor(n))),
        ...[0, 1].flatMap((n) => [annoy(urlFor(n), random), watch(urlFor(n))]),
        probe(url),
      ]);
      const failed = clients.finally(() => done.abort());
      // It is met below, once the daemon is gone.
      failed.catch(() => {});
      const trouble = fullDisk ? undefined : log.trouble(random, done.signal);
      if (last) {
        await sleepOr(quietMs * WARM_UP_PART, done.signal);
        const before = await unexplained();
        await sleepOr(quietMs * (1 - WARM_UP_PART), done.signal);
        ended.grownBytes = (await unexplained()) - before;
        ended.journalBytes = journalSize(environment.DMAD_STATE_DIR);
        done.abort();
        await trouble;
        await checkLog(url);
      } else {
        await sleepOr(random.logInteger(50, 10_000), done.signal);
        ended.kills++;
      }
      daemon.child.kill('SIGKILL');
      await failed;
      await daemon.exited;
      done.abort();
      await trouble;
    } finally {
      done.abort();
      daemon.child.kill('SIGKILL');
    }
  }
  const sum = (count: (worker: Worker) => number) =>
    workers.reduce((all, worker) => all + count(worker), 0);
  const figured = {
    ...{ node: process.version, seconds, seed: random.seed, proxy: nginx !== undefined },
    ...{ accepted: acceptedBy(workers), interrupted: sum(({ interrupted }) => interrupted) },
    compared: sum(({ compared }) => compared.equal + compared.different),
    ...{ logFaults: log.faults, ...ended, ...figures },
  };
  console.log(JSON.stringify(figured));
  assert.ok(ended.grownBytes < MAX_GROWTH, `memory has grown by ${ended.grownBytes} bytes`);
}

function acceptedBy(workers: readonly Worker[]): number {
  return workers.reduce((all, { accepted }) => all + accepted, 0);
}

/** Sleeps, unless what is to go on meanwhile has ended, which then says why. */
async function sleepOr(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

const stateDir = mkdtempSync(join(tmpdir(), 'dmad-soak-'));
const port = await freePort();
const log = new LogReader(stateDir);
const nginx = await startProxy(urlOf(port));
try {
  await random.explain(() => soak(stateDir, port, log, nginx));
} finally {
  log.stop();
  await nginx?.stop();
  rmSync(stateDir, { recursive: true, force: true });
}
