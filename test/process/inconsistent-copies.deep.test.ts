// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { Host, MIB } from '../support/peers.ts';

const DEVICES = { DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB', DMAD_FAULTS: '1' };
const BLOCK = 65_536;
const KIB = 1024;

let source: Host;
let destination: Host;
/** The replication that has left all of dax0.0 inconsistent. */
let id: string;
beforeAll(async () => {
  source = await Host.make('1MiB');
  destination = await Host.make('1MiB', DEVICES);
  destination.know(source.url);
  await Promise.all([source.start(), destination.start()]);
  await source.write(randomBytes(MIB));
  await fault('media_error', 'dax0.0', 15 * BLOCK, BLOCK);
  const answer = await destination.replicate(
    { size: MIB, block_size: BLOCK, mode: 'full' },
    { prefer: 'wait=60' },
  );
  ({ id } = JSON.parse(answer.body.toString()).replication);
  await clearFaults();
  expect(await inconsistent('dax0.0')).toEqual([[0, MIB, id]]);
});
afterAll(() => Promise.all([source.remove(), destination.remove()]));

async function fault(kind: string, device_name: string, offset: number, size: number) {
  const body = { kind, device_name, offset, size, count: 1000 };
  const { status } = await fetchAnswer(`${destination.url}/faults`, jsonBody(body));
  expect(status).toBe(201);
}

const clearFaults = () => fetchAnswer(`${destination.url}/faults`, { method: 'DELETE' });

async function inconsistent(name: string): Promise<[number, number, string | undefined][]> {
  const device = await fetchJson(`${destination.url}/devices/${name}`);
  return device.inconsistent.map(
    (range: { offset: number; size: number; replication?: string }) => [
      ...[range.offset, range.size, range.replication],
    ],
  );
}

async function transfer(body: object, prefer = 'wait=60') {
  const answer = await fetchAnswer(`${destination.url}/transfers`, jsonBody(body, { prefer }));
  return JSON.parse(answer.body.toString());
}

const copy = (dst_offset: number, more: object = {}) => ({
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, size: KIB },
  ...{ dst_offset, ...more },
});

async function restart(): Promise<void> {
  await destination.kill();
  await destination.start();
}

test('copies of inconsistent bytes are inconsistent after a crash, too, be they whole, failed, cut off or overwritten in part', async () => {
  expect((await transfer(copy(0, { size: 4 * KIB }))).status).toBe('succeeded');
  await fault('verify_mismatch', 'dax1.0', 16 * KIB, KIB);
  const failed = await transfer(copy(16 * KIB, { verify: 'crc32c' }));
  expect(failed.code).toBe('verify_mismatch');
  await clearFaults();
  await fault('hang', 'dax1.0', 32 * KIB, KIB);
  const { id: hanging } = await transfer(copy(32 * KIB), 'respond-async');
  while ((await fetchJson(`${destination.url}/transfers/${hanging}`)).status !== 'running');
  // A copy of a copy, which then is overwritten in part.
  const again = copy(48 * KIB, { device_name: 'dax1.0', size: 3 * KIB });
  expect((await transfer(again)).status).toBe('succeeded');
  const fill = { operation: 'fill', device_name: 'dax1.0', pattern: '5a' };
  expect((await transfer({ ...fill, dst_offset: 49 * KIB, size: KIB })).status).toBe('succeeded');
  const marked = [
    [0, 4 * KIB, id],
    [16 * KIB, KIB, id],
    [32 * KIB, KIB, id],
    [48 * KIB, KIB, id],
    [50 * KIB, KIB, id],
  ];
  await expect(inconsistent('dax1.0')).resolves.toEqual(marked);
  await restart();
  const after = await inconsistent('dax1.0');
  // What was overwritten a moment before a crash may be marked still.
  const gap = after.find(([offset]) => offset === 48 * KIB)?.[1] === 3 * KIB;
  expect(after).toEqual(gap ? [...marked.slice(0, 3), [48 * KIB, 3 * KIB, id]] : marked);
  expect(await inconsistent('dax0.0')).toEqual([[0, MIB, id]]);
  // What is durably overwritten is good, and stays so.
  expect((await transfer({ ...fill, dst_offset: 0, size: MIB })).status).toBe('succeeded');
  expect(await inconsistent('dax1.0')).toEqual([]);
  await destination.daemon?.stop();
  await destination.start();
  expect(await inconsistent('dax1.0')).toEqual([]);
});
