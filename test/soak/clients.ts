// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, clientOf } from '../support/crash-client.ts';
import type { Random } from '../support/random.ts';

/** A device for those whose bytes nobody checks. */
export const FLOODED = 'dax9.0';
/** What clients have done, and met. */
export const figures = { flood: 0, bad: 0, events: 0, probes: 0, slowestProbeMs: 0 };

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

/** Asks for one thing after the other until the daemon answers no more. */
async function untilGone(url: string, request: (n: number) => Promise<void>): Promise<void> {
  for (let n = 0; ; n++) {
    try {
      await request(n);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      // A body that is too large may cost the connection.
      const live = await clientOf(url)
        .isLive()
        .catch(() => undefined);
      if (live === undefined) return;
    }
  }
}

/** Small transfers as fast as they come. */
export function flood(url: string): Promise<void> {
  return untilGone(url, async (n) => {
    const at = (n % 64) * 8192;
    const body = copyOf(at, at + 4096);
    const response = await ask(`${url}/transfers`, { method: 'POST', headers: json(), body });
    await response.arrayBuffer();
    assert.ok([201, 202, 429, 503].includes(response.status), `flood: ${response.status}`);
    figures.flood++;
  });
}

/** Requests that are wrong. */
export function annoy(url: string, random: Random): Promise<void> {
  return untilGone(url, async () => {
    await sleep(5);
    const [path, init] = random.pick(BAD);
    const response = await ask(url + path, init);
    await response.arrayBuffer();
    const { status } = response;
    assert.ok(status >= 400 && status < 500, `${init.method ?? 'GET'} ${path}: ${status}`);
    figures.bad++;
  });
}

/** Reads the events of all transfers. */
export function watch(url: string): Promise<void> {
  return untilGone(url, async () => {
    for await (const _ of clientOf(url).watchAll()) figures.events++;
  });
}

/** Asks whether the daemon lives, and how long that takes. */
export function probe(url: string): Promise<void> {
  return untilGone(url, async () => {
    await sleep(200);
    const began = performance.now();
    await clientOf(url).isLive();
    figures.probes++;
    figures.slowestProbeMs = Math.max(figures.slowestProbeMs, performance.now() - began);
  });
}
