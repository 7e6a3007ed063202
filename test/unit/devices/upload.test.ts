// SPDX-License-Identifier: Apache-2.0
import { getEventListeners } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SegmentList } from '../../../services/base/segments.ts';
import type { Device } from '../../../services/daemon/devices/device.ts';
import { checkUpload, Upload } from '../../../services/daemon/devices/upload.ts';
import { Engine } from '../../../services/daemon/engines/engine.ts';
import type { Completion, Job } from '../../../services/daemon/engines/records.ts';
import { MEMORY_DIR } from '../../support/app.ts';
import { crc32c } from '../../support/crc32c.ts';
import { runs } from '../../support/depth.ts';
import { completion, makeDevice } from '../transfers/make-transfer.ts';

const SIZE = 2 ** 20;
/** Longer than any test: those that are about the end of a wait set their own. */
const NEVER = new AbortController().signal;
const PATIENT = { pace: () => 0, moved: () => {}, idleMs: 60_000, signal: NEVER, gone: NEVER };

describe('checkUpload', () => {
  const device = makeDevice({ size: 1000, badBlocks: [{ offset: 512, size: 100 }] });

  test.each([
    [{ offset: 0, length: 512 }, 1000],
    [{ offset: 612, length: 388 }, 388],
    [{ offset: 1000, length: 0 }, 0],
    [{ offset: 1000, length: undefined }, 0],
    [{ offset: 0, length: undefined }, 1000],
  ])('%j has room', (target, room) => {
    expect(checkUpload({ device, ...target })).toBe(room);
  });

  test.each([
    [{ offset: 1001, length: 0 }, 'out_of_range'],
    [{ offset: Number.MAX_SAFE_INTEGER, length: undefined }, 'out_of_range'],
    [{ offset: 0, length: 1001 }, 'payload_too_large'],
    [{ offset: 1000, length: 1 }, 'payload_too_large'],
    [{ offset: 0, length: 1e300 }, 'payload_too_large'],
    [{ offset: 0, length: 513 }, 'bad_block'],
    [{ offset: 611, length: 1 }, 'bad_block'],
  ])('%j is refused: %s', (target, code) => {
    expect(() => checkUpload({ device, ...target })).toThrow(expect.objectContaining({ code }));
  });
});

describe('Upload', () => {
  let directory: string;
  let path: string;
  let engine: Engine;
  let device: Device;

  beforeAll(() => {
    directory = mkdtempSync(join(MEMORY_DIR, 'dmad-upload-'));
    path = join(directory, 'device');
    writeFileSync(path, Buffer.alloc(SIZE));
    engine = new Engine();
    const spec = { kind: 'emulated', size: SIZE, align: 0, persistence: 'volatile' } as const;
    device = makeDevice({ ...engine.openDevice(path, spec), badBlocks: [] });
  });
  afterAll(() => {
    engine.close();
    rmSync(directory, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await new Upload(engine, { device, offset: 0, length: SIZE, flush: false }).receive(
      Readable.from([Buffer.alloc(SIZE)]),
      PATIENT,
    );
  });

  const pattern = (size: number) =>
    Buffer.from(Array.from({ length: size }, (_, i) => 1 + ((i * 13 + (i >> 9)) % 255)));
  const cut = (bytes: Buffer, sizes: readonly number[]) => {
    const chunks: Buffer[] = [];
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const size = sizes[turn % sizes.length] as number;
      chunks.push(bytes.subarray(at, at + size));
      at += size;
    }
    return chunks;
  };

  test('writes the body where it belongs and nothing else, however it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(SIZE),
        fc.oneof(fc.nat(2000), fc.nat(SIZE), fc.constantFrom(262_143, 262_144, 262_145, 524_288)),
        fc.array(fc.integer({ min: 1, max: 400_000 }), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        async (offset, wanted, sizes, lengthKnown) => {
          const size = Math.min(wanted, SIZE - offset);
          // Chunks of a byte or two would make a million of them.
          const least = Math.max(1, Math.floor(size / 50));
          const body = pattern(size);
          const before = readFileSync(path);
          const length = lengthKnown ? size : undefined;
          const upload = new Upload(engine, { device, offset, length, flush: false });
          const chunks = cut(
            body,
            sizes.map((given) => Math.max(given, least)),
          );
          await upload.receive(Readable.from(chunks), PATIENT);
          expect(upload.bytesWritten).toBe(size);
          expect(upload.crc).toBe(crc32c(body));
          body.copy(before, offset);
          expect(readFileSync(path).equals(before)).toBe(true);
        },
      ),
      { numRuns: runs(25) },
    );
  });

  test('writes up to the end and not past it, where the length was not known', async () => {
    const offset = SIZE - 300_000;
    const upload = new Upload(engine, { device, offset, length: undefined, flush: false });
    const body = pattern(300_001);
    await expect(
      upload.receive(Readable.from(cut(body, [100_000])), PATIENT),
    ).rejects.toMatchObject({ code: 'payload_too_large' });
    expect(upload.bytesWritten).toBe(300_000);
    expect(upload.crc).toBe(crc32c(body.subarray(0, 300_000)));
    const content = readFileSync(path);
    expect(content.length).toBe(SIZE);
    expect(content.subarray(offset).equals(body.subarray(0, 300_000))).toBe(true);
  });

  test('keeps what arrived of a body that was cut short', async () => {
    const upload = new Upload(engine, { device, offset: 10, length: SIZE - 10, flush: false });
    const body = pattern(300_000);
    async function* broken() {
      yield* cut(body, [70_000]);
      throw new Error('the client went away');
    }
    await expect(upload.receive(Readable.from(broken()), PATIENT)).rejects.toThrow(
      'the client went away',
    );
    expect(upload.bytesWritten).toBe(300_000);
    const content = readFileSync(path);
    expect(content.subarray(10, 300_010).equals(body)).toBe(true);
    expect(content.subarray(300_010).every((byte) => byte === 0)).toBe(true);
  });

  test('takes a body that ends without a word for one that was cut short', async () => {
    for (const early of [true, false]) {
      const body = new PassThrough();
      body.write('hello');
      const upload = new Upload(engine, { device, offset: 0, length: 100, flush: false });
      if (early) body.destroy();
      const over = upload.receive(body, PATIENT);
      if (!early) {
        await sleep(5);
        body.destroy();
      }
      await expect(over).rejects.toThrow('cut short');
      if (!early) expect(readFileSync(path).toString('latin1', 0, 6)).toBe('hello\0');
    }
  });

  test('leaves no listener and no timer behind', async () => {
    const controller = new AbortController();
    const body = new PassThrough();
    const before = body.eventNames().map((name) => [name, body.listenerCount(name)]);
    const timers = () =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const timersBefore = timers();
    body.end('hello');
    const upload = new Upload(engine, { device, offset: 0, length: 5, flush: false });
    await upload.receive(body, { ...PATIENT, signal: controller.signal });
    expect(body.eventNames().map((name) => [name, body.listenerCount(name)])).toEqual(before);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    expect(timers()).toBe(timersBefore);
  });

  test('gives up on a body that stalls, and keeps what arrived', async () => {
    const body = new PassThrough();
    body.write(Buffer.from('hello'));
    const upload = new Upload(engine, { device, offset: 0, length: 100, flush: false });
    await expect(upload.receive(body, { ...PATIENT, idleMs: 20 })).rejects.toMatchObject({
      code: 'request_timeout',
    });
    expect(readFileSync(path).toString('latin1', 0, 6)).toBe('hello\0');
    // An answer must still go out on its connection.
    expect(body.destroyed).toBe(false);
  });

  test.each([
    ['the end', '', 'end'],
    ['the last byte', 'x', 'end'],
    ['more', 'x', 'write'],
  ] as const)(
    'takes %s though the event loop was too busy to see it',
    async (_what, bytes, how) => {
      const body = new PassThrough();
      body.write('hello');
      const upload = new Upload(engine, { device, offset: 0, length: undefined, flush: false });
      const over = upload.receive(body, { ...PATIENT, idleMs: 80 });
      await sleep(20);
      body[how](bytes);
      const until = performance.now() + 200;
      while (performance.now() < until);
      if (how === 'write') {
        await sleep(20);
        body.end();
      }
      await over;
      expect(upload.bytesWritten).toBe(5 + bytes.length);
    },
  );

  test('gives up on a body that comes byte by byte', async () => {
    const body = new PassThrough();
    const timer = setInterval(() => body.write('x'), 2);
    const upload = new Upload(engine, { device, offset: 0, length: undefined, flush: false });
    const over = upload.receive(body, { ...PATIENT, idleMs: 100 });
    await expect(over).rejects.toMatchObject({ code: 'request_timeout' });
    clearInterval(timer);
    expect(upload.bytesWritten).toBeGreaterThan(1);
  });

  test('a slow body goes on as long as it gets on', async () => {
    // Longer in all than six times the idle time.
    async function* slow() {
      for (let i = 0; i < 13; i++) {
        await sleep(500);
        yield Buffer.alloc(65_536);
      }
    }
    const upload = new Upload(engine, { device, offset: 0, length: undefined, flush: false });
    await upload.receive(Readable.from(slow()), { ...PATIENT, idleMs: 1000 });
    expect(upload.bytesWritten).toBe(13 * 65_536);
  }, 30_000);

  test('is broken off by its signal, before or while it waits', async () => {
    for (const early of [true, false]) {
      const controller = new AbortController();
      const body = new PassThrough();
      body.write(Buffer.from('stop'));
      const upload = new Upload(engine, { device, offset: 0, length: 100, flush: false });
      const reason = new Error('enough');
      if (early) controller.abort(reason);
      const over = upload.receive(body, { ...PATIENT, signal: controller.signal });
      if (!early) {
        await sleep(5);
        controller.abort(reason);
      }
      await expect(over).rejects.toBe(reason);
    }
  });

  test('does not write over a bad block that it comes upon', async () => {
    const bad = { ...device, badBlocks: [{ offset: 600_000, size: 512 }] };
    const upload = new Upload(engine, { device: bad, offset: 0, length: undefined, flush: false });
    await expect(
      upload.receive(Readable.from(cut(pattern(SIZE), [65_536])), PATIENT),
    ).rejects.toMatchObject({ code: 'bad_block' });
    expect(upload.bytesWritten).toBeLessThanOrEqual(600_000);
    const content = readFileSync(path);
    expect(content.subarray(upload.bytesWritten).every((byte) => byte === 0)).toBe(true);
    const written = pattern(SIZE).subarray(0, upload.bytesWritten);
    expect(content.subarray(0, upload.bytesWritten).equals(written)).toBe(true);
  });

  test('stops at what the medium refuses, and counts what was written before', async () => {
    const sizes: number[] = [];
    const failing = {
      run: async (job: Job): Promise<Completion> => {
        sizes.push(job.memory?.length ?? 0);
        return completion({ status: sizes.length < 3 ? 0 : -5, sourceCrc: 7 });
      },
    } as unknown as Engine;
    const upload = new Upload(failing, { device, offset: 0, length: SIZE, flush: false });
    await expect(
      upload.receive(Readable.from(cut(pattern(SIZE), [65_536])), PATIENT),
    ).rejects.toMatchObject({ code: 'media_error' });
    expect(sizes).toEqual([262_144, 262_144, 262_144]);
    expect(upload.bytesWritten).toBe(524_288);
  });

  test.each([true, false])('each piece is flushed with it, or none: %p', async (flush) => {
    const jobs: Job[] = [];
    const recording = {
      run: async (job: Job) => {
        jobs.push(job);
        return { status: 0, sourceCrc: 0 };
      },
    } as unknown as Engine;
    const target = { device, offset: 5, length: 3, flush };
    await new Upload(recording, target).receive(Readable.from([Buffer.from('abc')]), PATIENT);
    const segments = SegmentList.of({ src_offset: 0, dst_offset: 5, size: 3 });
    expect(jobs).toMatchObject([{ flush, segments }]);
  });
});
