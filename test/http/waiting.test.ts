// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const MIB = 2 ** 20;
const ASYNC = { prefer: 'respond-async' };

let directory: string;
let open: TestApp;
let guarded: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  open = await startTestApp();
  const tokens = [
    { name: 'one' },
    { name: 'other' },
    { name: 'slow', limits: { bytes_per_second: 1024 } },
  ];
  guarded = await startTestApp({
    environment: {
      DMAD_TOKENS_FILE: writeTokens(directory, tokens),
      DMAD_DEVICES: 'emulated:dax0.0=64MiB,emulated:dax1.0=64MiB',
    },
  });
});
afterAll(async () => {
  await Promise.all([open.close(), guarded.close(0)]);
  rmSync(directory, { recursive: true, force: true });
});

const copy = (src_offset: number, dst_offset: number, size = 4096) => ({
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset, dst_offset, size },
});
const post = async (app: TestApp, body: object, headers = {}) =>
  (await app.post(body, { ...ASYNC, ...headers })).json();
const get = async (app: TestApp, id: string, headers = {}) =>
  (await app.inject({ url: `/transfers/${id}`, headers })).json();

describe('what a queued transfer waits for', () => {
  test('an upload; transfers, of which the direct predecessors are named; nothing, once it runs', async () => {
    const blocker = await open.block('dax0.0');
    const first = await post(open, copy(0, 0));
    expect(first).toMatchObject({ status: 'queued', waiting_for: { reason: 'upload' } });
    expect(first.waiting_for).toEqual({ reason: 'upload' });
    const second = await post(open, { ...copy(0, 65_536), device_name: 'dax1.0' });
    expect(second.waiting_for).toEqual({ reason: 'order', transfers: [first.id] });
    // It touches what the second writes, and not what the first reads.
    const third = await post(open, { operation: 'fill', ...fill('dax1.0', 65_536) });
    expect(third.waiting_for).toEqual({ reason: 'order', transfers: [second.id] });
    const listed = (await open.inject({ url: '/transfers?status=queued&view=basic' })).json();
    expect(listed.transfers.map((one: typeof first) => one.waiting_for)).toEqual([
      ...[third.waiting_for, second.waiting_for, first.waiting_for],
    ]);
    await blocker.release();
    const over = (
      await open.inject({ url: `/transfers/${third.id}`, headers: { prefer: 'wait=10' } })
    ).json();
    expect(over).toMatchObject({ status: 'succeeded', waiting_for: null });
  });

  test('up to ten of those are named', async () => {
    const blocker = await open.block('dax0.0');
    const ids: string[] = [];
    for (let i = 0; i < 12; i++) ids.push((await post(open, copy(0, i * 4096))).id);
    const behind = await post(open, copy(0, 0, 12 * 4096));
    expect(behind.waiting_for.reason).toBe('order');
    expect(behind.waiting_for.transfers).toHaveLength(10);
    expect(ids).toEqual(expect.arrayContaining(behind.waiting_for.transfers));
    await blocker.release();
  });

  test('instead of one that was cancelled, those that this waits for', async () => {
    const blocker = await open.block('dax0.0');
    const first = await post(open, copy(0, 0));
    const second = await post(open, copy(4096, 0));
    const third = await post(open, { operation: 'fill', ...fill('dax1.0', 0) });
    await open.inject({ method: 'POST', url: `/transfers/${second.id}/cancel` });
    const { waiting_for } = await get(open, third.id);
    expect(waiting_for).toEqual({ reason: 'order', transfers: [first.id] });
    await blocker.release();
  });

  test('those that it depends on, whatever bytes they touch', async () => {
    const blocker = await open.block('dax0.0');
    const first = await post(open, copy(0, 0));
    const body = {
      operation: 'fill',
      ...fill('dax1.0', 500_000),
      depends_on: [first.id, first.id],
    };
    const behind = await post(open, body);
    expect(behind).toMatchObject({ status: 'queued', depends_on: [first.id] });
    expect(behind.waiting_for).toEqual({ reason: 'order', transfers: [first.id] });
    const waits = open.post({ ...body, depends_on: [behind.id] }, { prefer: 'wait=30' });
    await open.inject({ method: 'POST', url: `/transfers/${first.id}/cancel` });
    const failed = await waits;
    expect(failed.statusCode).toBe(424);
    expect(failed.json()).toMatchObject({
      code: 'dependency_failed',
      transfer: { status: 'failed', bytes_completed: 0, error: { code: 'dependency_failed' } },
    });
    await blocker.release();
    // One that has succeeded is no reason to wait, one that has not is one to fail.
    const done = (await open.post(copy(0, 0))).json();
    expect((await open.post({ ...body, depends_on: [done.id] })).statusCode).toBe(201);
    expect((await open.post({ ...body, depends_on: [done.id, first.id] })).statusCode).toBe(424);
    for (const dry_run of [false, true]) {
      const unknown = await open.post({ ...body, depends_on: [done.id, 'none'], dry_run });
      expect(unknown.statusCode).toBe(422);
      expect(unknown.json()).toMatchObject({
        ...{ code: 'unknown_transfer', errors: [{ pointer: '/depends_on/1' }] },
      });
    }
    const many = { ...body, depends_on: Array(101).fill(done.id) };
    expect((await open.post(many)).json()).toMatchObject({
      ...{ code: 'invalid_request', errors: [{ pointer: '/depends_on' }] },
    });
    expect((await open.post({ ...body, depends_on: [done.id], dry_run: true })).statusCode).toBe(
      200,
    );
  });

  test("another client's transfers, which are not named", async () => {
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 0, size: 16 * MIB });
    const ahead = { device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' };
    const long = await post(guarded, { ...ahead, segments }, bearer('one'));
    const behind = await post(guarded, copy(0, 0), bearer('other'));
    expect(behind.waiting_for).toEqual({ reason: 'order', transfers: [] });
    const own = await post(guarded, copy(0, 0), bearer('other'));
    expect(own.waiting_for).toEqual({ reason: 'order', transfers: [behind.id] });
    const theirs = { ...copy(0, 0), depends_on: [behind.id] };
    expect((await post(guarded, theirs, bearer('one'))).code).toBe('unknown_transfer');
    const mine = await post(guarded, copy(0, 0), bearer('one'));
    expect(mine.waiting_for.transfers).not.toContain(behind.id);
    const cancel = { method: 'POST', url: `/transfers/${long.id}/cancel` } as const;
    await guarded.inject({ ...cancel, headers: bearer('one') });
  });

  test('its rate, with about how long; those in front of it are paid for first', async () => {
    const first = await post(guarded, copy(32 * MIB, 32 * MIB, 102_400), bearer('slow'));
    expect(first.waiting_for).toEqual({ reason: 'rate', seconds: expect.any(Number) });
    expect(first.waiting_for.seconds).toBeGreaterThan(95);
    expect(first.waiting_for.seconds).toBeLessThanOrEqual(100);
    const second = await post(guarded, copy(33 * MIB, 33 * MIB, 102_400), bearer('slow'));
    expect(second.waiting_for.reason).toBe('rate');
    expect(second.waiting_for.seconds).toBeGreaterThan(195);
    expect(second.waiting_for.seconds).toBeLessThanOrEqual(200);
  });
});

function fill(device_name: string, dst_offset: number, size = 4096) {
  return { device_name, dst_offset, size };
}
