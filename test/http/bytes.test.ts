// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { crc32cText } from '../support/crc32c.ts';
import { runs } from '../support/depth.ts';
import { noise, Random } from '../support/random.ts';
import { request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const SIZE = 144 * MIB;
const LARGEST = 64 * MIB;
const NAMES = ['dax0.0', 'dax1.0'] as const;
/** Bytes before and behind what a copy writes that are looked at too. */
const GUARD = 256;

interface Segment {
  src_offset: number;
  dst_offset: number;
  size: number;
}
interface Copy {
  source: number;
  destination: number;
  segments: Segment[];
}

let app: TestApp;
/** What the devices must hold, and the files that are behind them. */
const model: Buffer[] = [];
const files: number[] = [];
const scratch = Buffer.alloc(LARGEST + 2 * GUARD);

beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: NAMES.map((name) => `emulated:${name}=${SIZE}`).join(',') },
    parentDir: MEMORY_DIR,
  });
  for (const name of NAMES) {
    const file = openSync(join(app.stateDir, 'devices', name), 'r+');
    const bytes = Buffer.alloc(SIZE);
    // Noise all over would take seconds to make: a stretch of it at every MiB, each one different.
    const stretch = noise(MIB);
    for (let offset = 0; offset < SIZE; offset += MIB) {
      stretch.writeUInt32LE(offset, 0);
      stretch.copy(bytes, offset);
      stretch.writeUInt32LE(offset, MIB / 2);
    }
    writeSync(file, bytes);
    files.push(file);
    model.push(bytes);
  }
});
afterAll(async () => {
  for (const file of files) closeSync(file);
  await app.close();
});

/** Looks at the bytes of a device around a range. */
function expectBytes(device: number, offset: number, size: number): void {
  const start = Math.max(0, offset - GUARD);
  const end = Math.min(SIZE, offset + size + GUARD);
  const seen = scratch.subarray(0, end - start);
  readSync(files[device] as number, seen, 0, seen.length, start);
  const wanted = (model[device] as Buffer).subarray(start, end);
  if (seen.equals(wanted)) return;
  const first = seen.findIndex((byte, index) => byte !== wanted[index]);
  throw new Error(`${NAMES[device]} differs from offset ${start + first} on: ${offset}+${size}`);
}

function expectAllBytes(): void {
  for (const device of [0, 1]) {
    for (let offset = 0; offset < SIZE; offset += LARGEST) {
      expectBytes(device, offset, Math.min(LARGEST, SIZE - offset));
    }
  }
}

function applyToModel({ source, destination, segments }: Copy): void {
  for (const { src_offset, dst_offset, size } of segments) {
    (model[source] as Buffer).copy(
      model[destination] as Buffer,
      ...[dst_offset, src_offset, src_offset + size],
    );
  }
}

function randomSegment(
  random: Random,
  sameDevice: boolean,
  largest: number,
  room: number,
): Segment {
  for (;;) {
    const size = random.logInteger(1, largest);
    // Ends where it can, or begins at a page, as often as anywhere.
    const place = () => {
      const offset = random.integer(0, room - size);
      return random.pick([offset, offset, offset - (offset % 4096), 0, room - size]);
    };
    const segment = { src_offset: place(), dst_offset: place(), size };
    if (!sameDevice || Math.abs(segment.src_offset - segment.dst_offset) >= size) return segment;
  }
}

const body = ({ source, destination, segments }: Copy) => ({
  device_name: NAMES[source],
  ...(destination !== source && { dst_device_name: NAMES[destination] }),
  ...(segments.length === 1 ? segments[0] : { segments }),
});

/** Sends them at once, and gives them in the order in which they were accepted. */
async function sendAtOnce(copies: Copy[], options: (index: number) => object): Promise<Copy[]> {
  const accepted = await Promise.all(
    copies.map(async (copy, index) => {
      const response = await app.post(
        { ...body(copy), ...options(index) },
        { prefer: 'respond-async' },
      );
      // Ids are UUIDs of version 7, made at acceptance: they sort by it.
      return { copy, id: response.json().id as string };
    }),
  );
  for (const { id } of accepted) {
    const ended = await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=60' } });
    expect(ended.json()).toMatchObject({ id, status: 'succeeded', error: null });
  }
  return accepted.sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ copy }) => copy);
}

test('copies of 1 B to 64 MiB, any alignment, inside and across devices', async () => {
  const random = new Random();
  await random.explain(async () => {
    for (let count = 0; count < runs(1000); ) {
      const copies = Array.from({ length: random.integer(1, 8) }, (): Copy => {
        const source = random.integer(0, 1);
        const destination = random.integer(0, 1);
        const segment = randomSegment(random, source === destination, LARGEST, SIZE);
        return { source, destination, segments: [segment] };
      });
      count += copies.length;
      const ordered = await sendAtOnce(copies, () => ({
        durability: random.pick(['flush', 'none']),
        verify: random.pick(['none', 'none', 'crc32c']),
        priority: random.pick(['high', 'normal', 'low']),
      }));
      for (const copy of ordered) applyToModel(copy);
      for (const { destination, segments } of ordered) {
        for (const { dst_offset, size } of segments) expectBytes(destination, dst_offset, size);
      }
    }
    expectAllBytes();
  });
}, 120_000);

test('transfers of up to 100 segments that depend on each other', async () => {
  const random = new Random();
  await random.explain(async () => {
    for (let round = 0; round < runs(75); round++) {
      const copies = Array.from({ length: 4 }, (): Copy => {
        const source = random.integer(0, 1);
        const destination = random.integer(0, 1);
        // In little room, so that nearly all of them touch.
        const [largest, room] = random.pick([
          [64, 256],
          [4096, 16_384],
          [MIB / 2, 4 * MIB],
        ] as const);
        const segments = Array.from({ length: random.integer(2, 100) }, () =>
          randomSegment(random, source === destination, largest, room),
        );
        return { source, destination, segments };
      });
      const ordered = await sendAtOnce(copies, () => ({ verify: random.pick(['none', 'crc32c']) }));
      for (const copy of ordered) applyToModel(copy);
      for (const device of [0, 1]) expectBytes(device, 0, 4 * MIB);
    }
    expectAllBytes();
  });
}, 120_000);

test('A to B, B to C, C to D, sent at once, leaves A in D', async () => {
  const random = new Random();
  const port = await app.listen();
  const wire = new Wire(port);
  await random.explain(async () => {
    for (let round = 0; round < runs(1000); round++) {
      const size = random.logInteger(1, 256 * 1024);
      // Four ranges in random order and on random devices, some of them side by side.
      let end = random.integer(0, 4096);
      const places = Array.from({ length: 4 }, () => {
        const place = { device: random.integer(0, 1), offset: end };
        end += size + random.pick([0, 0, 1, random.integer(0, 5000)]);
        return place;
      }).sort(() => random.next() - 0.5);
      const [a] = places as [{ device: number; offset: number }];
      const bytes = noise(size);
      bytes.copy(model[a.device] as Buffer, a.offset);
      writeSync(files[a.device] as number, bytes, 0, size, a.offset);
      // In one write on one connection: accepted in this order, and none waits for another's end.
      const steps = places.slice(1).map((to, index): Copy => {
        const from = places[index] as typeof to;
        const segment = { src_offset: from.offset, dst_offset: to.offset, size };
        return { source: from.device, destination: to.device, segments: [segment] };
      });
      wire.send(
        Buffer.concat(
          steps.map((step) =>
            request(
              'POST /transfers',
              {
                ...{ connection: 'keep-alive', 'content-type': 'application/json' },
                prefer: 'respond-async',
              },
              JSON.stringify({ ...body(step), priority: random.pick(['high', 'normal', 'low']) }),
            ),
          ),
        ),
      );
      const ids: string[] = [];
      for (const _ of steps) {
        const answer = await wire.answer();
        expect([201, 202]).toContain(answer.status);
        ids.push(JSON.parse(answer.body.toString()).id);
      }
      expect(ids).toEqual([...ids].sort());
      const headers = { prefer: 'wait=60' };
      // The last waits for all before it.
      const last = await app.http.inject({ url: `/transfers/${ids.at(-1)}`, headers });
      expect(last.json().status).toBe('succeeded');
      for (const step of steps) applyToModel(step);
      for (const { device, offset } of places) expectBytes(device, offset, size);
      const { device, offset } = places.at(-1) as typeof a;
      expect((model[device] as Buffer).subarray(offset, offset + size).equals(bytes)).toBe(true);
    }
  });
  wire.end();
}, 120_000);

test('uploads keep their place among transfers', async () => {
  const random = new Random();
  const wire = new Wire(await app.listen());
  const alive = { connection: 'keep-alive' };
  const json = { ...alive, 'content-type': 'application/json', prefer: 'respond-async' };
  await random.explain(async () => {
    for (let round = 0; round < 100; round++) {
      const size = random.logInteger(1, 2 * MIB);
      const before = noise(size);
      const after = noise(size);
      const copyTo = (dst_offset: number) =>
        request(
          'POST /transfers',
          json,
          JSON.stringify({
            ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
            ...{ src_offset: 100, dst_offset, size },
          }),
        );
      const upload = (bytes: Buffer) =>
        request('PUT /devices/dax0.0/content?offset=100', alive, bytes);
      wire.send(Buffer.concat([upload(before), copyTo(0), upload(after), copyTo(4 * MIB)]));
      let last = '';
      for (let i = 0; i < 4; i++) {
        const answer = await wire.answer();
        const { id, ...rest } = JSON.parse(answer.body.toString());
        if (i % 2 === 0) {
          expect(rest).toMatchObject({
            bytes_written: size,
            crc32c: crc32cText(i ? after : before),
          });
        }
        last = id;
      }
      await app.inject({ url: `/transfers/${last}`, headers: { prefer: 'wait=60' } });
      after.copy(model[0] as Buffer, 100);
      before.copy(model[1] as Buffer, 0);
      after.copy(model[1] as Buffer, 4 * MIB);
      expectBytes(0, 100, size);
      expectBytes(1, 0, size);
      expectBytes(1, 4 * MIB, size);
    }
  });
  wire.end();
}, 60_000);

test('a checksum is the CRC-32C of the bytes', async () => {
  const random = new Random();
  await random.explain(async () => {
    for (let round = 0; round < 100; round++) {
      const device = random.integer(0, 1);
      const size = round === 0 ? LARGEST : random.logInteger(1, 4 * MIB);
      const offset = random.integer(0, SIZE - size);
      const url = `/devices/${NAMES[device]}/checksum?offset=${offset}&size=${size}`;
      const { crc32c } = (await app.inject({ url })).json();
      expect(crc32c).toBe(crc32cText((model[device] as Buffer).subarray(offset, offset + size)));
    }
  });
  const whole = (await app.inject({ url: '/devices/dax0.0/checksum' })).json();
  expect(whole.crc32c).toBe(crc32cText(model[0] as Buffer));
});
