// SPDX-License-Identifier: Apache-2.0
// Runs the daemon under a mixed load, kills it at random moments, and ends with an error where a
// transfer is lost, a byte is wrong, or memory grows. Usage: soak [SECONDS], 180 by default.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkKeys, waitForIdle } from '../support/crash-client.ts';
import { devicesFor, Worker } from '../support/crash-load.ts';
import { Daemon } from '../support/daemon.ts';
import { Random } from '../support/random.ts';

const WORKERS = 4;
const FLOODERS = 4;
/** The last part of the time goes by without a kill, to see whether memory grows. */
const QUIET_PART = 1 / 3;
const WARM_UP_PART = 1 / 4;
/** What a transfer with a key takes of memory, for a day. In bytes. */
const KEPT_BYTES = 2500;
/** What the history of transfers without a key may take beside that. In bytes. */
const MAX_GROWTH = 50e6;
const REPORT_MEMORY = new URL('./report-memory.js', import.meta.url).href;
const FLOODED = 'dax9.0';

const seconds = Number(process.argv[2] ?? 180);
assert.ok(seconds >= 10, 'usage: soak [SECONDS], at least 10');
const random = new Random();
const figures = { kills: 0, flood: 0, bad: 0, journalBytes: 0, grownBytes: 0 };

const BAD: [path: string, init: RequestInit][] = [
  ['/transfers', { method: 'POST', body: '{"device_name":', headers: json() }],
  ['/transfers', { method: 'POST', body: '{}', headers: json() }],
  ['/transfers', { method: 'POST', body: 'x'.repeat(2 ** 21), headers: json() }],
  ['/transfers', { method: 'POST', body: copyOf(0, 0), headers: json() }],
  ['/transfers', { method: 'POST', body: copyOf(2 ** 40, 0), headers: json() }],
  ['/transfers', { method: 'DELETE' }],
  ['/transfers?page_token=none', {}],
  ['/transfers/none', {}],
  ['/devices/dax7.7/content', { method: 'PUT', body: 'bytes' }],
  ['/nothing', {}],
];

function json(): Record<string, string> {
  return { 'content-type': 'application/json' };
}

function copyOf(src_offset: number, dst_offset: number): string {
  return JSON.stringify({ device_name: FLOODED, src_offset, dst_offset, size: 4096 });
}

/** Small transfers as fast as they come, until the daemon answers no more. */
async function flood(url: string): Promise<void> {
  for (let i = 0; ; i = (i + 1) % 64) {
    const body = copyOf(i * 8192, i * 8192 + 4096);
    try {
      const response = await fetch(`${url}/transfers`, { method: 'POST', headers: json(), body });
      await response.arrayBuffer();
      assert.ok([201, 202, 429, 503].includes(response.status), `flood: ${response.status}`);
      figures.flood++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return;
    }
  }
}

async function annoy(url: string): Promise<void> {
  for (;;) {
    const [path, init] = random.pick(BAD);
    try {
      const response = await fetch(url + path, init);
      await response.arrayBuffer();
      const { status } = response;
      assert.ok(status >= 400 && status < 500, `${init.method ?? 'GET'} ${path}: ${status}`);
      figures.bad++;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      // A body that is too large may cost the connection; only a daemon that has gone ends this.
      if (
        !(await fetch(`${url}/livez`).then(
          (answer) => answer.ok,
          () => false,
        ))
      )
        return;
    }
    await sleep(5);
  }
}

/** Memory that the daemon holds, in bytes. */
async function memoryOf(daemon: Daemon): Promise<number> {
  const reports = () => daemon.log().flatMap(({ heldBytes }) => heldBytes ?? []);
  const known = reports().length;
  daemon.child.kill('SIGUSR2');
  for (let tries = 0; reports().length === known; tries++) {
    assert.ok(tries < 60, 'the daemon does not say how much memory it holds');
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

async function soak(stateDir: string): Promise<void> {
  const workers = Array.from({ length: WORKERS }, (_, index) => new Worker(index, random));
  const environment = {
    ...{ DMAD_STATE_DIR: stateDir, DMAD_LOG_LEVEL: 'error' },
    NODE_OPTIONS: `--import=${REPORT_MEMORY}`,
    DMAD_DEVICES: `${devicesFor(WORKERS)},emulated:${FLOODED}=1MiB`,
  };
  const end = performance.now() + seconds * 1000;
  const quietMs = seconds * 1000 * QUIET_PART;
  for (let last = false; !last; ) {
    last = performance.now() > end - quietMs;
    const daemon = new Daemon(environment, { lifetimeMs: seconds * 1000 + 120_000 });
    try {
      const url = await daemon.ready();
      const settle = async () => {
        await Promise.all(workers.map((worker) => worker.resolve(url)));
        await waitForIdle(url);
        await Promise.all(workers.map((worker) => worker.check(url)));
        await checkKeys(url, new Set());
      };
      await settle();
      const unexplained = async () => (await memoryOf(daemon)) - acceptedBy(workers) * KEPT_BYTES;
      const clients = Promise.all([
        ...workers.map((worker) => worker.work(url)),
        ...Array.from({ length: FLOODERS }, () => flood(url)),
        annoy(url),
      ]);
      const done = new AbortController();
      const failed = clients.finally(() => done.abort());
      if (last) {
        await sleepOr(quietMs * WARM_UP_PART, done.signal);
        const before = await unexplained();
        await sleepOr(quietMs * (1 - WARM_UP_PART), done.signal);
        figures.grownBytes = (await unexplained()) - before;
        figures.journalBytes = journalSize(stateDir);
      } else {
        await sleepOr(random.logInteger(50, 10_000), done.signal);
        figures.kills++;
      }
      daemon.child.kill('SIGKILL');
      await failed;
      await daemon.exited;
    } finally {
      daemon.child.kill('SIGKILL');
    }
  }
  const accepted = acceptedBy(workers);
  const interrupted = workers.reduce((all, worker) => all + worker.interrupted, 0);
  console.log(JSON.stringify({ seconds, seed: random.seed, accepted, interrupted, ...figures }));
  assert.ok(figures.grownBytes < MAX_GROWTH, `memory has grown by ${figures.grownBytes} bytes`);
}

function acceptedBy(workers: readonly Worker[]): number {
  return workers.reduce((all, { accepted }) => all + accepted, 0);
}

/** Sleeps, unless what is to go on meanwhile has ended, which then says why. */
async function sleepOr(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

const stateDir = mkdtempSync(join(tmpdir(), 'dmad-soak-'));
try {
  await random.explain(() => soak(stateDir));
} finally {
  rmSync(stateDir, { recursive: true, force: true });
}
