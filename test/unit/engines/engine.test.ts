// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ShimError } from '../../../services/base/native/shim.ts';
import { type Segment, SegmentList } from '../../../services/base/segments.ts';
import { Engine } from '../../../services/daemon/engines/engine.ts';
import type { OpenedDevice } from '../../../services/daemon/engines/opened-devices.ts';
import {
  type Completion,
  type Job,
  MEMORY,
  NOWHERE,
} from '../../../services/daemon/engines/records.ts';
import { crc32c } from '../../support/crc32c.ts';
import { runs } from '../../support/depth.ts';

const SIZE = 64 * 1024;
const LARGE = 64 * 2 ** 20;

describe('Engine', () => {
  let directory: string;
  let engine: Engine;
  const paths: string[] = [];
  const devices: OpenedDevice[] = [];
  let large: OpenedDevice;

  const openFile = (path: string, size: number) =>
    engine.openDevice(path, { kind: 'emulated', size, align: 0, persistence: 'volatile' });

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-engine-'));
    engine = new Engine();
    for (const name of ['a', 'b']) {
      const path = join(directory, name);
      writeFileSync(path, Buffer.alloc(SIZE));
      paths.push(path);
      devices.push(openFile(path, SIZE));
    }
    const path = join(directory, 'large');
    writeFileSync(path, '');
    truncateSync(path, LARGE);
    large = openFile(path, LARGE);
  });
  afterAll(() => {
    engine.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const handle = (index: number): number => devices[index]?.handle as number;
  const content = (index: number): Buffer => readFileSync(paths[index] as string);
  type Members = Partial<Omit<Job, 'segments'>> & { segments?: readonly Segment[] };
  const job = ({ segments, ...members }: Members): Job => ({
    source: handle(0),
    destination: handle(1),
    engine: 'cpu',
    priority: 'normal',
    segments: SegmentList.from(segments ?? [{ src_offset: 0, dst_offset: 0, size: 16 }]),
    ...members,
  });
  const put = async (index: number, bytes: Buffer) => {
    const completion = await engine.run(
      job({
        source: MEMORY,
        destination: handle(index),
        segments: [{ src_offset: 0, dst_offset: 0, size: bytes.length }],
        memory: bytes,
      }),
    );
    expect(completion.status).toBe(0);
  };

  test('tells what it is', () => {
    expect(engine.shimVersion).toMatch(/^\d+\.\d+\.\d+$/);
    expect(engine.cpu.threads).toBeGreaterThanOrEqual(1);
    expect(['avx512', 'avx2', 'sse2', 'movsb']).toContain(engine.cpu.instructionSet);
    expect(engine.cpu.streamFrom).toBeGreaterThanOrEqual(64 * 2 ** 10);
    expect(engine.cpu.streamFrom).toBeLessThanOrEqual(16 * 2 ** 20);
  });

  test('copies segments as if one after the other, and tells what it did', async () => {
    const segment = fc
      .tuple(fc.nat(SIZE - 1), fc.nat(SIZE - 1), fc.integer({ min: 1, max: 9000 }))
      .map(([src_offset, dst_offset, size]) => ({
        src_offset,
        dst_offset,
        size: Math.min(size, SIZE - src_offset, SIZE - dst_offset),
      }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(segment, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        fc.record({ flush: fc.boolean(), verify: fc.boolean(), checksum: fc.boolean() }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        async (given, inside, flags, salt) => {
          const apart = ({ src_offset, dst_offset, size }: Segment) =>
            Math.abs(src_offset - dst_offset) >= size;
          const segments = inside ? given.filter(apart) : given;
          fc.pre(segments.length > 0);
          const before = [0, 1].map((n) =>
            Buffer.from(
              Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8) * 7 + salt + n) & 255),
            ),
          );
          await put(0, before[0] as Buffer);
          await put(1, before[1] as Buffer);
          const source = before[0] as Buffer;
          const destination = before[inside ? 0 : 1] as Buffer;
          let crc = 0;
          for (const { src_offset, dst_offset, size } of segments) {
            crc = crc32c(source.subarray(src_offset, src_offset + size), crc);
            source.copy(destination, dst_offset, src_offset, src_offset + size);
          }
          const completion = await engine.run(
            job({ destination: handle(inside ? 0 : 1), segments, ...flags }),
          );
          const bytes = segments.reduce((sum, { size }) => sum + size, 0);
          expect(completion).toMatchObject({ done: true, status: 0, bytesDone: bytes });
          expect(completion.finishedNs).toBeGreaterThanOrEqual(completion.startedNs);
          if (flags.verify || flags.checksum) expect(completion.sourceCrc).toBe(crc);
          if (flags.verify) expect(completion.destinationCrc).toBe(crc);
          expect(content(0).equals(before[0] as Buffer)).toBe(true);
          expect(content(1).equals(before[1] as Buffer)).toBe(true);
        },
      ),
      { numRuns: runs(25) },
    );
  });

  test('reads into memory, and sums up what it only reads', async () => {
    const bytes = Buffer.from('123456789');
    await put(0, bytes);
    const memory = Buffer.alloc(64, 0xee);
    const segments = [{ src_offset: 0, dst_offset: 5, size: 9 }];
    const read = await engine.run(job({ destination: MEMORY, memory, segments }));
    expect(read.status).toBe(0);
    expect(memory.subarray(5, 14)).toEqual(bytes);
    expect([memory[4], memory[14]]).toEqual([0xee, 0xee]);

    const whole = [{ src_offset: 0, dst_offset: 0, size: 9 }];
    const sum = await engine.run(job({ destination: NOWHERE, checksum: true, segments: whole }));
    // The check value of CRC-32C in every catalogue.
    expect(sum.sourceCrc).toBe(0xe3069283);
    expect(crc32c(bytes)).toBe(0xe3069283);
    const halves = [0, 4].map((src_offset, i) => ({ src_offset, dst_offset: 0, size: 4 + i }));
    const first = await engine.run(
      job({ destination: NOWHERE, checksum: true, segments: halves.slice(0, 1) }),
    );
    const second = await engine.run(
      job({
        destination: NOWHERE,
        checksum: true,
        segments: halves.slice(1),
        crcSeed: first.sourceCrc,
      }),
    );
    expect(second.sourceCrc).toBe(0xe3069283);
  });

  test.each<[string, () => Members, 'ERANGE' | 'EINVAL' | 'ENODEV']>([
    [
      'beyond the end',
      () => ({ segments: [{ src_offset: SIZE, dst_offset: 0, size: 1 }] }),
      'ERANGE',
    ],
    [
      'over the end of the destination',
      () => ({ segments: [{ src_offset: 0, dst_offset: SIZE - 1, size: 2 }] }),
      'ERANGE',
    ],
    [
      'so far that adding would overflow',
      () => ({ segments: [{ src_offset: Number.MAX_SAFE_INTEGER, dst_offset: 0, size: 1 }] }),
      'ERANGE',
    ],
    ['of no size', () => ({ segments: [{ src_offset: 0, dst_offset: 0, size: 0 }] }), 'EINVAL'],
    [
      'over itself',
      () => ({
        destination: handle(0),
        segments: [{ src_offset: 0, dst_offset: 8, size: 16 }],
      }),
      'EINVAL',
    ],
    ['of no segment', () => ({ segments: [] }), 'EINVAL'],
    ['by an engine that is not there', () => ({ engine: 'dma' }), 'ENODEV'],
  ])('refuses a job %s, once, and none beside it', async (_name, members, code) => {
    const calls: Completion[] = [];
    const before = content(1);
    const beside = () => engine.run(job({ destination: NOWHERE, checksum: true }));
    const earlier = beside();
    const tag = engine.submit(job(members()), { done: (completion) => calls.push(completion) });
    expect(calls).toEqual([]);
    const all = await Promise.all([earlier, beside()]);
    expect(all.map(({ status }) => status)).toEqual([0, 0]);
    // A job after it goes its way, so that nothing more of the refused one can still be coming.
    await beside();
    const refusal = { tag, done: true, status: -constants.errno[code], bytesDone: 0 };
    expect(calls).toMatchObject([refusal]);
    expect(calls).toHaveLength(1);
    expect(content(1).equals(before)).toBe(true);
  });

  test('ends a job whose device was closed as one whose device has gone', async () => {
    const path = join(directory, 'closed');
    writeFileSync(path, Buffer.alloc(SIZE));
    const closed = openFile(path, SIZE).handle;
    expect(engine.closeDevice(closed)).toBe(true);
    expect(engine.closeDevice(closed)).toBe(true);
    // The shim gives its handle again; ours names the old device for ever.
    const next = openFile(path, SIZE).handle;
    expect(next).not.toBe(closed);
    for (const members of [{ source: closed }, { destination: closed }]) {
      const completion = await engine.run(job(members));
      expect(completion).toMatchObject({ status: -constants.errno.ENXIO, bytesDone: 0 });
    }
    expect(() => engine.dmaPort.attachDma(closed)).toThrow('ENXIO');
    expect(engine.closeDevice(next)).toBe(true);
  });

  test('does not close a device while a job names it', async () => {
    const path = join(directory, 'busy');
    writeFileSync(path, Buffer.alloc(SIZE));
    const { handle: busy } = openFile(path, SIZE);
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 0, size: SIZE });
    const over = new Promise((resolve) => {
      const tag = engine.submit(job({ source: busy, segments }), { done: resolve });
      expect(engine.closeDevice(busy)).toBe(false);
      engine.cancel(tag);
    });
    await over;
    expect(engine.closeDevice(busy)).toBe(true);
  });

  test('says that there is no kernel module', () => {
    expect(() => engine.dmaPort.openDma('/nowhere')).toThrow('ENOENT');
    expect(() => engine.dmaPort.dmaInfo()).toThrow('ENODEV');
    expect(() => engine.dmaPort.dmaChannels(1)).toThrow('ENODEV');
    expect(() => engine.dmaPort.attachDma(handle(0))).toThrow('ENODEV');
  });

  test('gives each of 20,000 jobs its own end, once', async () => {
    const COUNT = 20_000;
    const ends = new Uint8Array(COUNT);
    const crcs = new Map<number, number>();
    const bytes = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 8)) & 255));
    await put(0, bytes);
    // Submitted in one turn: nobody reads meanwhile, so the socket fills up and records are cut.
    let left = COUNT;
    await new Promise<void>((resolve) => {
      for (let i = 0; i < COUNT; i++) {
        const offset = i % 64;
        const segments = [{ src_offset: offset, dst_offset: 0, size: 8 }];
        engine.submit(job({ destination: NOWHERE, checksum: true, segments }), {
          done: ({ status, sourceCrc }) => {
            ends[i] = (ends[i] as number) + 1;
            if (status === 0) crcs.set(i, sourceCrc);
            if (--left === 0) resolve();
          },
        });
      }
    });
    expect(ends.every((count) => count === 1)).toBe(true);
    const expected = Array.from({ length: 64 }, (_, i) => crc32c(bytes.subarray(i, i + 8)));
    expect([...crcs].every(([i, crc]) => crc === expected[i % 64])).toBe(true);
    expect(crcs.size).toBe(COUNT);
  }, 60_000);

  test('stops a job that is cancelled, and tells how far it came', async () => {
    const half = LARGE / 2;
    const ends: Promise<Completion>[] = [];
    const tags: number[] = [];
    for (let i = 0; i < 8; i++) {
      ends.push(
        new Promise((resolve) => {
          const segments = [{ src_offset: 0, dst_offset: half, size: half }];
          tags.push(
            engine.submit(job({ source: large.handle, destination: large.handle, segments }), {
              done: resolve,
            }),
          );
        }),
      );
    }
    for (const tag of tags) engine.cancel(tag);
    const completions = await Promise.all(ends);
    for (const { status, bytesDone } of completions) {
      // It may have been quicker.
      expect([0, -125]).toContain(status);
      if (status === 0) expect(bytesDone).toBe(half);
      else expect(bytesDone).toBeLessThan(half);
    }
    expect(completions.some(({ status }) => status === -125)).toBe(true);
    // Of jobs that have finished, or never were, nothing.
    for (const tag of [...tags, 0, 2 ** 52]) engine.cancel(tag);
  });

  test('gives a job more or less time, wherever it is', async () => {
    const segments = [{ src_offset: 0, dst_offset: LARGE / 2, size: LARGE / 2 }];
    const of = { source: large.handle, destination: large.handle, segments, timeoutMs: 1000 };
    let tag = 0;
    const over = new Promise<Completion>((resolve) => {
      tag = engine.submit(job(of), { done: resolve });
    });
    // It is on its way to the shim, then there; the CPU never hangs, and so has all the time.
    engine.setTimeout(tag, 1);
    engine.setTimeout(tag, undefined);
    await nextTurn();
    engine.setTimeout(tag, 1);
    expect((await over).status).toBe(0);
    for (const other of [tag, 0, 2 ** 52]) engine.setTimeout(other, 1);
  });

  test('holds the memory of a job until it has finished, and no longer', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { over, listener } = awaited();
    const held = [Buffer.allocUnsafeSlow(4 * 2 ** 20)];
    const memory = new WeakRef((held[0] as Buffer).buffer);
    // A WeakRef keeps what it names for the turn in which it is made.
    await nextTurn();
    // In its own function: no closure that lives on may see the memory.
    const submit = () => {
      const [bytes = Buffer.alloc(0)] = held.splice(0);
      const segments = [{ src_offset: 0, dst_offset: 0, size: bytes.length }];
      const reading = { source: large.handle, destination: MEMORY, segments, memory: bytes };
      engine.submit(job(reading), listener);
    };
    submit();
    // No record is delivered before this turn ends, so the job cannot be known to be over.
    collect();
    expect(memory.deref()).toBeDefined();
    await over;
    for (let i = 0; i < 50 && memory.deref() !== undefined; i++) {
      await nextTurn();
      collect();
    }
    expect(memory.deref()).toBeUndefined();
  });

  test('opens only what is there, once', () => {
    const fail = (path: string, size: number) => {
      try {
        openFile(path, size);
      } catch (error) {
        return (error as ShimError).code;
      }
      return undefined;
    };
    expect(fail(join(directory, 'none'), SIZE)).toBe('ENOENT');
    expect(fail(join(directory, 'large'), SIZE)).toBe('EINVAL');
    expect(fail(directory, SIZE)).toBeDefined();
    expect(() =>
      engine.openDevice('/dev/null', {
        kind: 'devdax',
        size: 4096,
        align: 4096,
        persistence: 'memory_controller',
      }),
    ).toThrow('EINVAL');
    expect(devices[0]).toMatchObject({ size: SIZE });
    expect(['msync', 'none']).toContain(devices[0]?.flushBasis);
    expect(['backing_store', 'volatile']).toContain(devices[0]?.persistence);
  });

  test('takes a lock that is then taken', () => {
    const path = join(directory, 'lock');
    engine.lockFile(path);
    const other = new Engine();
    try {
      expect(() => other.lockFile(path)).toThrow(/EAGAIN|EWOULDBLOCK/);
      expect(() => other.lockFile(join(directory, 'no', 'lock'))).toThrow('ENOENT');
    } finally {
      other.close();
    }
  });
});

function awaited() {
  let resolve = () => {};
  const over = new Promise<void>((end) => {
    resolve = end;
  });
  return { over, listener: { done: () => resolve() } };
}
