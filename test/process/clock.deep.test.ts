// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { request, Wire } from '../support/wire.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const KEY = { 'idempotency-key': 'k' };
const ASYNC = { prefer: 'respond-async' };

let stateDir: string;
let daemon: Daemon;
let url: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-clock-'));
});
afterEach(async () => {
  await daemon.stop('SIGKILL');
  rmSync(stateDir, { recursive: true, force: true });
});

/** @param aheadMs by how much its wall clock is wrong; other clocks are right */
async function start(aheadMs: number): Promise<void> {
  const script = `
    const Right = Date;
    globalThis.Date = class extends Right {
      constructor(...given) {
        super(...(given.length === 0 ? [Date.now()] : given));
      }
      static now() {
        return Right.now() + ${aheadMs};
      }
    };`;
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
  });
  url = await daemon.ready();
}

const post = (headers: object, body: object = COPY) =>
  fetchJson(`${url}/transfers`, jsonBody(body, { ...KEY, ...headers }));

/**
 * Keeps a copy waiting, until the daemon ends: it writes where that writes, and not where it reads,
 * or the copy could not run again.
 */
async function block(): Promise<void> {
  const wire = new Wire(Number(new URL(url).port)).send(
    request('PUT /devices/dax0.0/content?offset=4096', {
      'content-length': '1',
      expect: '100-continue',
    }),
  );
  await wire.sees('100 Continue');
}

test.each([
  ['30 days back', -30 * DAY_MS, 0],
  ['two years ahead', 0, 730 * DAY_MS],
  ['back by 30 days', 0, -30 * DAY_MS],
])('a key and its transfer outlive a clock that was set: %s', async (_what, before, after) => {
  await start(before);
  const { id } = await post({});
  expect((await fetchJson(`${url}/transfers`)).transfers).toHaveLength(1);
  expect((await daemon.stop()).code).toBe(0);

  await start(after);
  expect((await fetchJson(`${url}/transfers`)).transfers).toMatchObject([{ id }]);
  const replay = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, KEY));
  expect(replay.status).toBe(200);
  expect(JSON.parse(replay.body.toString()).id).toBe(id);
  expect(replay.headers['idempotency-replayed']).toBe('true');
});

test.each([
  ['30 days back', -30 * DAY_MS, 0],
  ['two hours ahead', 0, 2 * HOUR_MS],
])(
  'one that has an hour to go runs in it after a kill, though the clock was set: %s',
  async (_what, before, after) => {
    await start(before);
    await block();
    const { id } = await post(ASYNC, { ...COPY, timeout_ms: HOUR_MS });
    await daemon.stop('SIGKILL');

    await start(after);
    const found = await fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=30' } });
    expect(found.status).toBe('succeeded');
    expect((await post({}, { ...COPY, timeout_ms: HOUR_MS })).id).toBe(id);
  },
);
