// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { inMounts, whyNot } from '../support/mounts.ts';
import { noise } from '../support/random.ts';
import { request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const SIZE = 4 * MIB;
const ASYNC = { prefer: 'respond-async' };
const WAIT = { headers: { prefer: 'wait=60' } };
const COPY = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: SIZE },
};
/** Goes on for minutes, and gives the same as {@link COPY}. */
const LONG = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' },
  segments: Array(4096).fill({ src_offset: 0, dst_offset: 0, size: SIZE }),
};
/** Goes on for minutes, too, and overwrites what it reads. */
const SWAPS = {
  ...{ device_name: 'dax0.0', durability: 'none' },
  segments: Array.from({ length: 4096 }, (_, i) => ({
    ...{ src_offset: (i % 2) * (SIZE / 2), dst_offset: ((i + 1) % 2) * (SIZE / 2) },
    size: SIZE / 2,
  })),
};

let stateDir: string;
let daemon: Daemon;
let url: string;
beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-restart-'));
});
afterEach(async () => {
  await daemon.stop('SIGKILL');
  rmSync(stateDir, { recursive: true, force: true });
});

async function start(environment: Record<string, string> = {}): Promise<void> {
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}`,
    ...environment,
  });
  url = await daemon.ready();
}

const post = (body: object, headers = {}) => fetchJson(`${url}/transfers`, jsonBody(body, headers));
const get = (id: string, options = {}) => fetchJson(`${url}/transfers/${id}`, options);
const content = async (device: string) =>
  (await fetchAnswer(`${url}/devices/${device}/content`)).body;
const upload = (device: string, body: Buffer) =>
  fetchAnswer(`${url}/devices/${device}/content`, { method: 'PUT', body });

async function untilRunning(id: string): Promise<void> {
  while ((await get(id)).bytes_completed === 0) await sleep(5);
}

/** Keeps everything behind it waiting that touches the device. */
async function block(device: string): Promise<Wire> {
  const wire = new Wire(Number(new URL(url).port)).send(
    request(`PUT /devices/${device}/content`, {
      ...{ 'content-length': String(SIZE), expect: '100-continue' },
    }),
  );
  await wire.sees('100 Continue');
  return wire;
}

describe('a restart', () => {
  test('keeps transfers as they were, keys, lists, and tokens of pages', async () => {
    await start();
    await post({ ...COPY, verify: 'crc32c', labels: { a: 'b' } });
    const keyed = await post(COPY, { 'idempotency-key': 'k' });
    const upload = await block('dax0.0');
    const cancelled = await post(COPY, ASYNC);
    await fetchAnswer(`${url}/transfers/${cancelled.id}/cancel`, { method: 'POST' });
    const late = await post({ ...COPY, timeout_ms: 1 }, { prefer: 'wait=60' });
    expect(late.code).toBe('timeout');
    upload.end();
    await post({ ...COPY, segments: undefined, size: 1 });
    const before = await fetchJson(`${url}/transfers`);
    expect(before.transfers).toHaveLength(5);
    const page = await fetchJson(`${url}/transfers?page_size=2`);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });

    await start();
    expect(await fetchJson(`${url}/transfers`)).toEqual(before);
    const next = await fetchJson(`${url}/transfers?page_size=2&page_token=${page.next_page_token}`);
    expect(next.transfers).toEqual(before.transfers.slice(2, 4));
    const found = await fetchJson(`${url}/transfers?label=a:b`);
    expect(found.transfers).toEqual([before.transfers[4]]);
    const replay = await fetchAnswer(
      `${url}/transfers`,
      jsonBody(COPY, { 'idempotency-key': 'k' }),
    );
    expect(replay.status).toBe(200);
    expect(JSON.parse(replay.body.toString()).id).toBe(keyed.id);
    const other = jsonBody({ ...COPY, size: 1 }, { 'idempotency-key': 'k' });
    expectProblem(await fetchAnswer(`${url}/transfers`, other), 422, 'idempotency_key_reused');
    // What is made now is newer than all that was.
    const { id } = await post(COPY);
    expect((await fetchJson(`${url}/transfers?page_size=1`)).transfers[0].id).toBe(id);
  });

  test('runs again what was under way, and what waited behind it, in order', async () => {
    const bytes = noise(SIZE);
    await start({ DMAD_DRAIN_SECONDS: '0' });
    await upload('dax0.0', bytes);
    const long = await post({ ...LONG, segments: LONG.segments.slice(0, 1000) }, ASYNC);
    const back = await post(
      { ...COPY, device_name: 'dax1.0', dst_device_name: 'dax0.0', src_offset: 1, size: 4096 },
      ASYNC,
    );
    await untilRunning(long.id);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });

    await start();
    expect(await get(long.id, WAIT)).toMatchObject({
      ...{ status: 'succeeded', created_at: long.created_at },
    });
    expect((await get(back.id, WAIT)).status).toBe('succeeded');
    expect((await content('dax1.0')).equals(bytes)).toBe(true);
    bytes.copyWithin(0, 1, 4097);
    expect((await content('dax0.0')).equals(bytes)).toBe(true);
  });

  deepTest('where the port is taken changes nothing: what was unfinished runs later', async () => {
    await start();
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const upload = await block('dax0.0');
    // Once it has begun it could not run again.
    const swaps = await post({ ...SWAPS, segments: SWAPS.segments.slice(0, 2000) }, ASYNC);
    await daemon.stop('SIGKILL');
    upload.end();
    const DMAD_PORT = String((other.address() as AddressInfo).port);
    await expect(start({ DMAD_PORT })).rejects.toThrow('"code":69');
    await new Promise((resolve) => other.close(resolve));

    await start();
    expect((await get(swaps.id, WAIT)).status).toBe('succeeded');
  });

  deepTest.each(['an upload', 'an awaited transfer'])(
    'what waited for %s to write its source is interrupted, for that is half-written',
    async (what) => {
      await start();
      const source = noise(SIZE);
      await upload('dax0.0', source);
      if (what === 'an upload') {
        const half = await block('dax1.0');
        half.send(noise(SIZE / 2));
        while ((await content('dax1.0')).every((byte) => byte === 0)) await sleep(5);
      } else {
        void post(LONG, { prefer: 'wait=60' }).catch(() => {});
        while ((await fetchJson(`${url}/transfers?status=running`)).transfers.length === 0) {
          await sleep(5);
        }
      }
      const COPY_ON = { ...COPY, device_name: 'dax1.0', dst_device_name: 'dax1.0' };
      const sizes = { src_offset: 0, dst_offset: SIZE / 2, size: SIZE / 2 };
      const behind = await post({ ...COPY_ON, ...sizes }, ASYNC);
      const last = await post({ ...COPY, device_name: 'dax1.0', dst_device_name: 'dax0.0' }, ASYNC);
      await daemon.stop('SIGKILL');

      await start();
      for (const { id } of [behind, last]) {
        const { status, error } = await get(id, WAIT);
        expect(status).toBe('interrupted');
        expect(error.detail).toMatch(/had begun to write its source/);
      }
      expect((await content('dax0.0')).equals(source)).toBe(true);
    },
  );

  deepTest(
    'a transfer that is under way whenever the daemon dies runs three times at most',
    async () => {
      await start();
      const { id } = await post(LONG, ASYNC);
      for (let runs = 1; runs <= 3; runs++) {
        await untilRunning(id);
        await daemon.stop('SIGKILL');
        await start();
      }
      const { status, error } = await get(id);
      expect(status).toBe('interrupted');
      expect(error.detail).toMatch(/daemon died each of the last 3 times/);
    },
  );

  deepTest('daemons that end in order do not count', async () => {
    await start({ DMAD_DRAIN_SECONDS: '0' });
    const { id } = await post(LONG, ASYNC);
    for (let runs = 1; runs <= 4; runs++) {
      await untilRunning(id);
      await daemon.stop();
      await start({ DMAD_DRAIN_SECONDS: '0' });
    }
    await untilRunning(id);
  });

  deepTest.each(['SIGKILL', 'SIGTERM'] as const)(
    'after %s, what has overwritten its own source is interrupted; what waited behind it runs',
    async (signal) => {
      await start({ DMAD_DRAIN_SECONDS: '0' });
      const swaps = await post(SWAPS, ASYNC);
      const behind = await post(COPY, ASYNC);
      const waiting = await post(SWAPS, ASYNC);
      await untilRunning(swaps.id);
      await daemon.stop(signal);

      await start();
      const interrupted = await get(swaps.id);
      expect(interrupted).toMatchObject({
        ...{ status: 'interrupted', error: { code: 'interrupted' } },
      });
      expect((await get(behind.id, WAIT)).status).toBe('succeeded');
      // It has not begun before, and so it runs.
      await untilRunning(waiting.id);
      const { error } = interrupted;
      if (signal === 'SIGKILL') expect(error.detail).toMatch(/one of its segments writes where/);
    },
  );

  deepTest('interrupts what was to touch a device that is another one, or gone', async () => {
    await start();
    await block('dax1.0');
    const made = [await post(COPY, ASYNC), await post(COPY, { ...ASYNC, 'idempotency-key': 'k' })];
    await daemon.stop('SIGKILL');
    rmSync(join(stateDir, 'devices', 'dax1.0'));

    await start();
    for (const { id } of made) {
      const { status, error, bytes_completed } = await get(id);
      expect({ status, bytes_completed }).toEqual({ status: 'interrupted', bytes_completed: 0 });
      expect(error.detail).toMatch(/dax1\.0 is another device than it was/);
    }
    // The next daemon finds it so, even where the device is not there at all.
    await block('dax1.0');
    const last = await post(COPY, ASYNC);
    await daemon.stop('SIGKILL');
    await start({ DMAD_DEVICES: `emulated:dax0.0=${SIZE}` });
    expect((await get(last.id)).error.detail).toMatch(/dax1\.0 is no device of this daemon/);
    const listed = await fetchJson(`${url}/transfers?device_name=dax1.0&status=interrupted`);
    expect(listed.transfers).toHaveLength(3);
  });

  deepTest('a timeout goes on while the daemon does not run', async () => {
    await start();
    await block('dax1.0');
    const { id } = await post({ ...COPY, timeout_ms: 1000 }, ASYNC);
    await daemon.stop('SIGKILL');
    await sleep(1000);
    await start();
    // Its turn has come before, or its time is over: no one knows which is first.
    const { status, error } = await get(id, WAIT);
    expect([status, error?.code]).toEqual(
      status === 'succeeded' ? ['succeeded', undefined] : ['failed', 'timeout'],
    );
  });

  deepTest.each([
    ['torn', (path: string) => truncateSync(path, statSync(path).size - 3)],
    ['garbled', (path: string) => writeFileSync(path, noise(50), { flag: 'r+' })],
  ])(
    'a log that is %s costs nothing else, and nothing is run again on its word',
    async (_, spoil) => {
      await start();
      const kept = await post(COPY, { ...ASYNC, 'idempotency-key': 'kept' });
      expect((await get(kept.id, WAIT)).status).toBe('succeeded');
      await daemon.stop();
      // By now it is in a table.
      await start();
      await block('dax1.0');
      const waiting = [await post(COPY, ASYNC), await post(COPY, ASYNC), await post(COPY, ASYNC)];
      await daemon.stop('SIGKILL');
      const logs = readdirSync(join(stateDir, 'journal')).filter((name) => name.endsWith('.log'));
      for (const log of logs) spoil(join(stateDir, 'journal', log));

      await start();
      expect(daemon.log()).toContainEqual(
        expect.objectContaining({ level: 50, damage: expect.any(String) }),
      );
      expect((await get(kept.id)).status).toBe('succeeded');
      for (const { id } of waiting) {
        // Lost with the log, or there and not trusted.
        expect(['interrupted', 404]).toContain((await get(id)).status);
      }
      expect((await post(COPY, { 'idempotency-key': 'kept' })).id).toBe(kept.id);
      expect((await post(COPY)).status).toBe('succeeded');
    },
  );

  test('a journal that cannot be opened is an error, not a new beginning', async () => {
    writeFileSync(join(stateDir, 'journal'), 'no directory');
    daemon = new Daemon({ DMAD_STATE_DIR: stateDir });
    const { code, stderr } = await daemon.exited;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^dmad: cannot open the journal .*\n$/);
  });
});

describe('a full disk', () => {
  const wrapper = inMounts('mount -t tmpfs -o size=20m,mode=0700 tmpfs "$DMAD_STATE_DIR"');
  const reason = whyNot(wrapper);
  if (reason !== undefined) process.stderr.write(`skipped, a full disk: ${reason}\n`);
  const onMounts = reason === undefined && process.getuid?.() === 0 ? deepTest : test.skip;

  onMounts('refuses what it cannot keep, loses nothing, and comes back by itself', async () => {
    daemon = new Daemon(
      {
        DMAD_STATE_DIR: stateDir,
        DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}`,
      },
      { wrapper },
    );
    url = await daemon.ready();
    const bytes = noise(SIZE);
    await upload('dax0.0', bytes);
    await upload('dax1.0', bytes);
    const blocker = await block('dax1.0');
    const accepted: string[] = [];
    const filler = `/proc/${daemon.child.pid}/root${stateDir}/filler`;
    const fill = () => {
      try {
        for (;;) writeFileSync(filler, Buffer.alloc(65_536), { flag: 'a' });
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    };
    fill();
    let refused = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, ASYNC));
    while (refused.status === 202) {
      accepted.push(JSON.parse(refused.body.toString()).id);
      fill();
      refused = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, ASYNC));
    }
    const problem = expectProblem(refused, 507, 'storage_full');
    expect(problem.detail).toMatch(/No space left on device/);
    expect(refused.headers['retry-after']).toMatch(/^\d+$/);
    const keyed = { 'idempotency-key': 'k' };
    const key = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, keyed));
    expectProblem(key, 507, 'storage_full');
    const ready = await fetchAnswer(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(JSON.parse(ready.body.toString()).waiting_for).toEqual(['journal']);
    expect((await fetchAnswer(`${url}/metrics`)).body.toString()).toMatch(
      /^dmad_journal_errors_total [1-9]/m,
    );
    // One that would go on is stopped, and says why.
    const slow = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, { prefer: 'wait=1' }));
    expect(expectProblem(slow, 507, 'storage_full').transfer).toMatchObject({ status: 'failed' });
    // Nothing is left of what was refused, and all that was accepted waits still.
    const { transfers } = await fetchJson(`${url}/transfers?status=queued`);
    expect(transfers.map(({ id }: { id: string }) => id).reverse()).toEqual(accepted);
    blocker.send(bytes);
    expect((await blocker.answer()).status).toBe(200);
    for (const id of accepted) expect((await get(id, WAIT)).status).toBe('succeeded');
    expect((await post(COPY)).status).toBe('succeeded');

    rmSync(filler);
    while ((await fetchAnswer(`${url}/readyz`)).status !== 200) await sleep(50);
    const back = await fetchAnswer(`${url}/transfers`, jsonBody({ ...COPY, size: 1 }, keyed));
    expect(back.status).toBe(201);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });
});
