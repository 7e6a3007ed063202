// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { runs } from '../support/depth.ts';
import { fetchAnswer, jsonBody } from '../support/fetch.ts';
import { freePort } from '../support/free-port.ts';
import { multiply } from '../support/past.ts';

/** In deep tests as many as are kept. */
const TRANSFERS = runs(100_000, 20_000);
const RESTARTS = Number(process.env.RESTARTS ?? 1);
const CLIENTS = 4;
const HEAP_MB = 384;
/** What all of them may take, beside what a daemon without a history has. In bytes. */
const MAX_MEMORY = 300e6;
/** Of processor time, until it lets clients in, beside what a daemon without a history takes. */
const MAX_START_CPU_MS = 1500;
/** A probe's limit, and how much longer it may take for each ms that this process itself was late. */
const MAX_PROBE_MS = 2000;
const PER_OWN_DELAY = 4;
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const KNOWN = /all transfers of earlier daemons are known/;
const JIFFY_MS = 10;

let stateDir: string;
let port: number;
let emptyCpuMs: number;
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-full-'));
  port = await freePort();
  const first = start();
  const url = await first.ready();
  emptyCpuMs = cpuMsOf(first);
  const accepted = jsonBody(COPY, { prefer: 'respond-async' });
  const answer = await fetchAnswer(`${url}/transfers`, accepted);
  await first.stop();
  const { id } = JSON.parse(answer.body.toString());
  await multiply(join(stateDir, 'journal'), id, TRANSFERS);
}, 300_000);
afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

function start(): Daemon {
  const environment = {
    ...{ DMAD_STATE_DIR: stateDir, DMAD_PORT: String(port) },
    NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
  };
  return new Daemon(environment, { lifetimeMs: 600_000 });
}

function cpuMsOf({ child }: Daemon): number {
  const [, , utime, stime] = /\) \S( \S+){10} (\d+) (\d+) /.exec(
    readFileSync(`/proc/${child.pid}/stat`, 'utf8'),
  ) as RegExpExecArray;
  return (Number(utime) + Number(stime)) * JIFFY_MS;
}

function memoryOf({ child }: Daemon): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Asks for one thing after the other as long as it is wanted. */
async function work(url: string, wanted: () => boolean): Promise<void> {
  for (let n = 0; wanted(); n++) {
    const headers = n % 2 === 0 ? { prefer: 'respond-async' } : {};
    const answer = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, headers));
    expect([201, 202]).toContain(answer.status);
  }
}

/** Probes the daemon from its first breath on. @returns how long each answer took, in ms */
async function probe(wanted: () => boolean): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; wanted(); n++) {
    const began = performance.now();
    const path = n % 2 === 0 ? 'livez' : 'readyz';
    const answer = await fetchAnswer(`http://127.0.0.1:${port}/${path}`).catch(() => undefined);
    if (answer !== undefined) taken.push(performance.now() - began);
    await sleep(20);
  }
  return taken;
}

test(
  `${TRANSFERS} finished transfers, ${RESTARTS} times: ready before they are known, probes and clients are answered, in a heap of ${HEAP_MB} MB`,
  async () => {
    const slowest: number[] = [];
    const memory: number[] = [];
    const readyMs: number[] = [];
    for (let restart = 0; restart < RESTARTS; restart++) {
      const delay = monitorEventLoopDelay();
      delay.enable();
      const began = performance.now();
      const daemon = start();
      const known = daemon.logged(KNOWN);
      let wanted = true;
      const probed = probe(() => wanted);
      const url = await daemon.ready();
      readyMs.push(performance.now() - began);
      expect(cpuMsOf(daemon) - emptyCpuMs).toBeLessThan(MAX_START_CPU_MS);
      const clients = Promise.all(Array.from({ length: CLIENTS }, () => work(url, () => wanted)));
      await known;
      const lines = daemon.log();
      const isReady = lines.findIndex((line) => line.url === url);
      expect(isReady).toBeLessThan(lines.findIndex(({ msg }) => KNOWN.test(String(msg))));
      await sleep(500);
      memory.push(memoryOf(daemon));
      wanted = false;
      await clients;
      const taken = await probed;
      delay.disable();
      slowest.push(Math.max(...taken));
      expect(taken.length).toBeGreaterThan(5);
      const limit = MAX_PROBE_MS + (PER_OWN_DELAY * delay.max) / 1e6;
      expect(slowest.at(-1)).toBeLessThan(limit);
      await daemon.stop(restart % 2 === 0 ? 'SIGTERM' : 'SIGKILL');
    }
    const most = (values: number[]) => Math.round(Math.max(...values));
    process.stderr.write(
      `${RESTARTS} starts with ${TRANSFERS} transfers: ready within ${most(readyMs)} ms, slowest ` +
        `probe ${most(slowest)} ms, memory ${(most(memory) / 1e6).toFixed(0)} MB\n`,
    );
    expect(most(memory)).toBeLessThan(MAX_MEMORY);
  },
  RESTARTS * 120_000,
);
