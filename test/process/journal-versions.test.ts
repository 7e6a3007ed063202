// SPDX-License-Identifier: Apache-2.0
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ClassicLevel } from 'classic-level';
import { seal } from '../../services/daemon/journal/stored-rows.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../../test/fixtures/journals/${name}`, import.meta.url));
/** Recorded with version 0.1.0 before rows had a boot id: two that were over, two that waited. */
const FORMAT_1 = fixture('format-1');
/**
 * Recorded with version 1.0.0, killed while these waited for an upload: one that was changed, one
 * that depends on it, and a batch; two that were over had been changed, and had depended.
 */
const FORMAT_3 = fixture('format-3');
/** The same after a version of format 2 has run on it: it ran the batch's first, and no other. */
const FORMAT_3_AFTER_2 = fixture('format-3-after-2');
const KEYED = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 8192, labels: { what: 'keyed' } },
};

let stateDir: string;
let daemon: Daemon | undefined;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-versions-'));
  cpSync(FORMAT_1, stateDir, { recursive: true });
});
afterEach(async () => {
  await daemon?.stop('SIGKILL');
  rmSync(stateDir, { recursive: true, force: true });
});

async function start(): Promise<string> {
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    DMAD_DEVICES: 'emulated:dax0.0=65536,emulated:dax1.0=65536',
  });
  return daemon.ready();
}

/** Changes rows as another version would have written them. @returns all rows */
async function edit(change: (key: string, value: string) => [string, string][]) {
  const database = new ClassicLevel(join(stateDir, 'journal'));
  const rows = new Map<string, string>();
  for (const [key, text] of await database.iterator().all()) {
    for (const [name, value] of change(key, text.slice(8))) rows.set(name, value);
  }
  const puts = [...rows].map(([key, value]) => ({
    ...{ type: 'put' as const, key },
    value: seal(key, value),
  }));
  await database.batch(puts);
  await database.close();
  return rows;
}

/** A recording does not age: what it has was accepted a minute ago. */
const young = (key: string, value: string): string =>
  key.endsWith('/accepted')
    ? JSON.stringify({ ...JSON.parse(value), accepted_ms: Date.now() - 60_000 })
    : value;

async function statuses(url: string): Promise<Record<string, string>> {
  const { transfers } = await fetchJson(`${url}/transfers`);
  return Object.fromEntries(
    transfers.map(({ labels, status }: { labels: { what: string }; status: string }) => [
      ...[labels.what, status],
    ]),
  );
}

test('what an earlier version accepted is found again, and its keys hold', async () => {
  await edit((key, value) => [[key, young(key, value)]]);
  for (let starts = 0; starts < 2; starts++) {
    const url = await start();
    expect(await statuses(url)).toEqual({
      ...{ awaited: 'succeeded', keyed: 'succeeded' },
      // The files behind the devices are others here.
      ...{ waiting: 'interrupted', swap: 'interrupted' },
    });
    const { transfers } = await fetchJson(`${url}/transfers?label=what:keyed`);
    const replay = await fetchAnswer(
      `${url}/transfers`,
      jsonBody(KEYED, { 'idempotency-key': 'kept' }),
    );
    expect([replay.status, JSON.parse(replay.body.toString()).id]).toEqual([200, transfers[0].id]);
    expect((await daemon?.stop())?.code).toBe(0);
  }
});

test('rows that a refused transfer has left go without a word', async () => {
  const id = '019a0000-0000-7000-8000-000000000000';
  const left = [`${id}/unsettled`, `${id}/begun`];
  await edit((key, value) => [
    [key, young(key, value)],
    ...left.map((name): [string, string] => [name, 'true']),
  ]);
  const url = await start();
  expect(Object.keys(await statuses(url))).toHaveLength(4);
  const ended = await daemon?.stop();
  expect(ended?.code).toBe(0);
  expect(daemon?.log().filter(({ level }) => Number(level) >= 40)).toEqual([]);
  const rows = await edit((key, value) => [[key, value]]);
  expect(left.filter((key) => rows.has(key))).toEqual([]);
});

describe('a journal of a later version', () => {
  test('is used if a reader may be as old, and what it says besides is kept', async () => {
    let moved = '';
    const before = await edit((key, value) => {
      const rows: [string, string][] = [[key, young(key, value)]];
      if (!key.endsWith('/accepted')) return rows;
      const { labels } = JSON.parse(value);
      if (labels.what === 'swap') {
        moved = key.replace('accepted', 'moved');
        rows.push([moved, '{"to":"dax2.0"}'], ['format', '3 4']);
      }
      if (labels.what === 'waiting') {
        rows[0] = [key, JSON.stringify({ ...JSON.parse(young(key, value)), priority: 'urgent' })];
      }
      return rows;
    });
    const url = await start();
    expect(await statuses(url)).toEqual({
      ...{ awaited: 'succeeded', keyed: 'succeeded', waiting: 'interrupted', swap: 'interrupted' },
    });
    const { transfers } = await fetchJson(`${url}/transfers?status=interrupted`);
    for (const { error } of transfers) expect(error.detail).toMatch(/later version/);
    expect((await daemon?.stop())?.code).toBe(0);
    const after = await edit((key, value) => [[key, value]]);
    for (const [key, value] of before) {
      if (key.includes('/')) expect([key, after.get(key)]).toEqual([key, value]);
    }
    expect(after.has(moved)).toBe(true);
  });

  test.each(['4 4', '2', 'two'])(
    'of format %s is left alone, with a line that says so',
    async (format) => {
      await edit((key, value) => [
        [key, value],
        ['format', format],
      ]);
      daemon = new Daemon({ DMAD_STATE_DIR: stateDir });
      const { code, stderr } = await daemon.exited;
      expect(code).toBe(1);
      expect(stderr).toMatch(new RegExp(`^dmad: the journal .* is of format ${format}.*\n$`));
    },
  );
});

describe('changes, dependencies and batches of an earlier daemon', () => {
  /** Has a recording be about the devices of this test, on a host that has not restarted. */
  async function take(recording: string): Promise<void> {
    const url = await start();
    const own = fetchAnswer(`${url}/transfers`, jsonBody(KEYED, { 'idempotency-key': 'own' }));
    expect((await own).status).toBe(201);
    await daemon?.stop();
    let boot_id = '';
    const identities = new Map<string, string>();
    await edit((key, value) => {
      const { labels, ...row } = key.endsWith('/accepted') ? JSON.parse(value) : {};
      if (row.key !== 'own') return [[key, value]];
      boot_id = row.boot_id;
      for (const { name, identity } of [row.source, row.destination])
        identities.set(name, identity);
      return [[key, value]];
    });
    rmSync(join(stateDir, 'journal'), { recursive: true });
    cpSync(recording, stateDir, { recursive: true });
    const here = (device: { name: string }) => ({
      ...device,
      identity: identities.get(device.name),
    });
    await edit((key, value) => {
      if (!key.endsWith('/accepted')) return [[key, value]];
      const row = JSON.parse(young(key, value));
      const [source, destination] = [here(row.source), here(row.destination)];
      return [[key, JSON.stringify({ ...row, boot_id, source, destination })]];
    });
  }
  const ended = async (url: string) => {
    for (const status of ['queued', 'running']) {
      const { transfers } = await fetchJson(`${url}/transfers?status=${status}`);
      for (const { id } of transfers) {
        await fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=30' } });
      }
    }
    return statuses(url);
  };
  const over = { finished: 'succeeded', 'finished behind': 'succeeded' };

  deepTest('are recovered', async () => {
    await take(FORMAT_3);
    const url = await start();
    expect(await ended(url)).toEqual({
      ...over,
      ...{ changed: 'succeeded', behind: 'succeeded' },
      ...{ 'batch 0': 'succeeded', 'batch 1': 'succeeded' },
    });
    const one = async (what: string) =>
      (await fetchJson(`${url}/transfers?label=what:${encodeURIComponent(what)}`)).transfers[0];
    const [finished, changed] = [await one('finished'), await one('changed')];
    expect(finished).toMatchObject({ priority: 'high', timeout_ms: 80_000_000 });
    expect(finished.labels).toEqual({ what: 'finished', changed: 'twice' });
    expect(changed).toMatchObject({ priority: 'low', timeout_ms: 86_400_000 });
    expect(changed.labels).toEqual({ what: 'changed', changed: 'yes' });
    expect((await one('behind')).depends_on).toEqual([changed.id, finished.id]);
    expect((await one('batch 1')).depends_on).toEqual([(await one('batch 0')).id]);
    // Its key stands for what was asked at first.
    const request = {
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', labels: { what: 'changed' } },
      ...{ src_offset: 0, dst_offset: 4096, size: 4096 },
    };
    const again = await fetchAnswer(
      `${url}/transfers`,
      jsonBody(request, { 'idempotency-key': 'changed' }),
    );
    expect([again.status, JSON.parse(again.body.toString()).id]).toEqual([200, changed.id]);
  });

  deepTest(
    'stay interrupted once a version has called them so that did not know them',
    async () => {
      await take(FORMAT_3_AFTER_2);
      for (let starts = 0; starts < 2; starts++) {
        const url = await start();
        expect(await ended(url)).toEqual({
          ...over,
          ...{ changed: 'interrupted', behind: 'interrupted' },
          ...{ 'batch 0': 'succeeded', 'batch 1': 'interrupted' },
        });
        const { transfers } = await fetchJson(`${url}/transfers?status=interrupted`);
        for (const { error } of transfers) expect(error.detail).toMatch(/earlier version/);
        // What would have been filled behind the one that was changed.
        const range = { range: 'bytes=16384-16384' };
        const { body } = await fetchAnswer(`${url}/devices/dax0.0/content`, { headers: range });
        expect(body.readUInt8(0)).toBe(0);
        expect((await daemon?.stop())?.code).toBe(0);
      }
    },
  );
});
