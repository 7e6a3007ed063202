// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { runs } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { Host, MIB } from '../support/peers.ts';
import { PowerLoss } from '../support/power-loss.ts';
import { Random } from '../support/random.ts';

const SIZE = 4 * MIB;
const BLOCK = 65_536;
const BLOCKS = SIZE / BLOCK;
const DEVICES = { DMAD_DEVICES: 'emulated:dax0.0=4MiB,emulated:dax1.0=4MiB', DMAD_FAULTS: '1' };

let power: PowerLoss;
let source: Host;
let destination: Host;
beforeAll(async () => {
  power = new PowerLoss();
  const options = { lifetimeMs: 900_000 };
  source = await Host.make('4MiB', {}, options);
  destination = await Host.make('4MiB', { ...DEVICES, ...power.environment }, options);
  destination.know(source.url);
  await Promise.all([source.start(), destination.start()]);
}, 60_000);
afterAll(async () => {
  await Promise.all([source.remove(), destination.remove()]);
  power.close();
});

let bytes: Buffer;
beforeEach(async () => {
  bytes = randomBytes(SIZE);
  await source.write(bytes);
});

async function failPower(): Promise<void> {
  await destination.kill();
  power.cut();
  await destination.start();
}

const content = async (device = 'dax0.0') =>
  (await fetchAnswer(`${destination.url}/devices/${device}/content`)).body;

async function inconsistent(device = 'dax0.0'): Promise<number[][]> {
  const { inconsistent: ranges } = await fetchJson(`${destination.url}/devices/${device}`);
  return ranges.map(({ offset, size }: { offset: number; size: number }) => [offset, size]);
}

async function transfer(body: object): Promise<string> {
  const prefer = { prefer: 'wait=60' };
  const answer = await fetchAnswer(`${destination.url}/transfers`, jsonBody(body, prefer));
  return JSON.parse(answer.body.toString()).status;
}

async function upload(from: Buffer, durability: string) {
  const url = `${destination.url}/devices/dax0.0/content?durability=${durability}`;
  const headers = { 'content-type': 'application/octet-stream' };
  const body = new Uint8Array(from);
  const answer = await fetchAnswer(url, { method: 'PUT', headers, body });
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body.toString()).durability;
}

test('what the disk loses: what was not flushed, and nothing else', async () => {
  const kept = randomBytes(SIZE);
  // What the rest of these tests rests on.
  expect(await upload(kept, 'flush')).toEqual({
    requested: 'flush',
    achieved: 'flush',
    basis: 'msync',
  });
  await upload(bytes, 'none');
  expect((await content()).equals(bytes)).toBe(true);
  await failPower();
  expect((await content()).equals(kept)).toBe(true);
});

test(
  'a replication is never consistent if it is not, whenever the power fails, and what succeeded stays',
  async () => {
    const random = new Random();
    for (let run = runs(40, 4); run > 0; run--) {
      bytes = randomBytes(SIZE);
      await source.write(bytes);
      // Some blocks are equal by now, which a failure of the power may take away again.
      const equal = random.integer(0, BLOCKS);
      const mixed = Buffer.concat([bytes.subarray(0, equal * BLOCK), randomBytes(SIZE)]);
      await upload(mixed.subarray(0, SIZE), random.integer(0, 1) === 0 ? 'none' : 'flush');
      const mode = random.integer(0, 2) === 0 ? 'full' : 'delta';
      const answer = await destination.replicate(
        { size: SIZE, block_size: BLOCK, mode, bytes_per_second: 4 * MIB },
        { prefer: 'respond-async' },
      );
      expect(answer.status).toBe(202);
      const { id } = JSON.parse(answer.body.toString());
      for (let times = random.integer(0, 2); times > 0; times--) {
        await sleep(random.integer(0, 1200));
        await failPower();
        const { consistency } = await destination.replication(id);
        if (consistency === 'consistent') {
          expect((await content()).equals(bytes)).toBe(true);
          expect(await inconsistent()).toEqual([]);
        } else if (consistency === 'inconsistent') {
          expect(await inconsistent()).toEqual([[0, SIZE]]);
        }
      }
      const ended = await destination.ended(id);
      expect(ended).toMatchObject({ status: 'succeeded', consistency: 'consistent' });
      await failPower();
      expect(await destination.replication(id)).toMatchObject({ consistency: 'consistent' });
      expect((await content()).equals(bytes)).toBe(true);
      expect(await inconsistent()).toEqual([]);
    }
  },
  60_000 + runs(40, 4) * 60_000,
);

test('an inconsistent range comes back if what overwrote it was not flushed, and its copies do', async () => {
  const half = SIZE / 2;
  await upload(Buffer.alloc(SIZE), 'flush');
  const fault = { kind: 'media_error', device_name: 'dax0.0', offset: SIZE - BLOCK, size: BLOCK };
  await fetchAnswer(`${destination.url}/faults`, jsonBody({ ...fault, count: 1000 }));
  const answer = await destination.replicate(
    { size: SIZE, block_size: BLOCK, mode: 'full' },
    { prefer: 'wait=60' },
  );
  expect(answer.status).toBeGreaterThanOrEqual(400);
  await fetchAnswer(`${destination.url}/faults`, { method: 'DELETE' });
  const range = { src_offset: 0, dst_offset: 0, size: half };
  const away = { device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' };
  expect(await transfer({ ...away, ...range })).toBe('succeeded');
  const fill = { operation: 'fill', pattern: '5a' };
  for (const device_name of ['dax0.0', 'dax1.0']) {
    const unflushed = { ...fill, device_name, dst_offset: 0, size: half, durability: 'none' };
    expect(await transfer(unflushed)).toBe('succeeded');
  }
  expect([await inconsistent('dax0.0'), await inconsistent('dax1.0')]).toEqual([
    [[half, half]],
    [],
  ]);
  const filled = Buffer.alloc(half, 0x5a);
  expect((await content()).subarray(0, half).equals(filled)).toBe(true);
  await failPower();
  // What the replication had left is there again, some of it as it was before; and it is marked.
  const back = await content();
  for (let at = 0; at < half; at += BLOCK) {
    const block = back.subarray(at, at + BLOCK);
    expect(block.equals(Buffer.alloc(BLOCK)) || block.equals(bytes.subarray(at, at + BLOCK))).toBe(
      true,
    );
  }
  expect([await inconsistent('dax0.0'), await inconsistent('dax1.0')]).toEqual([
    [[0, SIZE]],
    [[0, half]],
  ]);
  for (const device_name of ['dax0.0', 'dax1.0']) {
    expect(await transfer({ ...fill, device_name, dst_offset: 0, size: half })).toBe('succeeded');
  }
  expect([await inconsistent('dax0.0'), await inconsistent('dax1.0')]).toEqual([
    [[half, half]],
    [],
  ]);
  await failPower();
  expect((await content()).subarray(0, half).equals(filled)).toBe(true);
  // What was overwritten a moment before may be marked still; the rest must be.
  expect((await inconsistent('dax0.0')).at(-1)?.reduce((offset, size) => offset + size)).toBe(SIZE);
});
