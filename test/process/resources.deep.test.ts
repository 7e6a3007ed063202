// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MEMORY_DIR } from '../support/app.ts';
import { Daemon } from '../support/daemon.ts';
import { report } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';

const MIB = 2 ** 20;
const STREAMED = 200 * MIB;

let daemon: Daemon;
let url: string;
let stateDir: string;
beforeAll(async () => {
  stateDir = mkdtempSync(join(MEMORY_DIR, 'dmad-test-'));
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
  });
  url = await daemon.ready();
});
afterAll(async () => {
  await daemon.stop();
  rmSync(stateDir, { recursive: true, force: true });
});

/** Memory of the daemon's own, in bytes: pages of mapped devices belong to their files. */
function anonymousMemory(): number {
  const status = readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The most that it has while something goes on. */
async function peakMemory(work: () => Promise<void>): Promise<number> {
  let peak = anonymousMemory();
  const timer = setInterval(() => {
    peak = Math.max(peak, anonymousMemory());
  }, 10);
  await work();
  clearInterval(timer);
  return Math.max(peak, anonymousMemory());
}

async function upload(size: number): Promise<void> {
  const chunk = Buffer.alloc(MIB, 7);
  const body = Readable.toWeb(Readable.from(Array(size / MIB).fill(chunk)));
  const answer = await fetchAnswer(`${url}/devices/dax0.0/content`, {
    ...{ method: 'PUT', body, duplex: 'half' },
  } as RequestInit);
  expect(JSON.parse(answer.body.toString())).toMatchObject({ bytes_written: size });
}

async function download(size: number): Promise<void> {
  const response = await fetch(`${url}/devices/dax0.0/content`, {
    headers: { range: `bytes=0-${size - 1}` },
  });
  let received = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    received += chunk.length;
  }
  expect(received).toBe(size);
}

/** What V8 lets its garbage grow to: 38 to 54 MB measured on Node 20, since Node 22 twice as much. */
const GARBAGE = Number(process.versions.node.split('.', 1)[0]) < 22 ? 60e6 : 100e6;

test('200 MiB up and down take no more memory than the garbage of some chunks', async () => {
  // The first ones compile what they run.
  await upload(MIB);
  await download(MIB);
  const before = anonymousMemory();
  const up = (await peakMemory(() => upload(STREAMED))) - before;
  const down = (await peakMemory(() => download(STREAMED))) - before;
  const figures = `upload +${(up / 1e6).toFixed(1)} MB, download +${(down / 1e6).toFixed(1)} MB`;
  report(`memory beyond the start: ${figures}`);
  expect(up).toBeLessThan(GARBAGE);
  expect(down).toBeLessThan(GARBAGE);
});

/** How long GET /livez takes, in ms, asked one by one while something goes on. */
async function latencies(goesOn: () => boolean): Promise<number[]> {
  const taken: number[] = [];
  while (goesOn()) {
    const start = performance.now();
    expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
    taken.push(performance.now() - start);
    await sleep(2);
  }
  return taken.sort((a, b) => a - b);
}

const p99 = (sorted: number[]) => sorted[Math.floor(sorted.length * 0.99)] as number;

test('while 10 GiB are copied, it stays alive and its memory the same', async () => {
  const end = performance.now() + 2000;
  const idle = p99(await latencies(() => performance.now() < end));
  const before = anonymousMemory();
  let busy = true;
  const measured = latencies(() => busy);
  const peak = await peakMemory(async () => {
    // 40 times 256 MiB, four at a time, in pieces of 1 MiB.
    const segments = Array.from({ length: 256 }, (_, index) => ({
      ...{ src_offset: index * MIB, dst_offset: index * MIB, size: MIB },
    }));
    const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', segments, durability: 'none' };
    for (let round = 0; round < 10; round++) {
      await Promise.all(
        Array.from({ length: 4 }, async () => {
          const { id } = await fetchJson(`${url}/transfers`, jsonBody(copy));
          const prefer = { headers: { prefer: 'wait=60' } };
          expect((await fetchJson(`${url}/transfers/${id}`, prefer)).status).toBe('succeeded');
        }),
      );
    }
    busy = false;
  });
  const loaded = p99(await measured);
  const grown = peak - before;
  report(
    `GET /livez, p99: ${idle.toFixed(1)} ms idle, ${loaded.toFixed(1)} ms while copying ` +
      `(x${(loaded / idle).toFixed(1)}); memory +${(grown / 1e6).toFixed(1)} MB`,
  );
  expect(loaded <= 5 * idle || loaded < 50).toBe(true);
  expect(grown).toBeLessThan(50e6);
}, 120_000);
