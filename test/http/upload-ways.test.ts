// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync, truncateSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { UnflushedDevices } from '../../services/daemon/devices/unflushed.ts';
import { failedCompletion } from '../../services/daemon/engines/completions.ts';
import { Engine } from '../../services/daemon/engines/engine.ts';
import { SOCKET } from '../../services/daemon/engines/records.ts';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { contentCounts } from '../support/content-counts.ts';
import { crc32c, crc32cText } from '../support/crc32c.ts';
import { deepTest, runs } from '../support/depth.ts';
import { noise, Random } from '../support/random.ts';
import { WAYS } from '../support/ways.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const SIZE = 24 * MIB;
const CONTENT = '/devices/dax0.0/content';
const KEEP = { connection: 'keep-alive' };
const bytes = noise(SIZE);
const crcOfBytes = crc32cText(bytes);

const counted = (app: TestApp) => contentCounts(app, 'upload');

const crcField = (body: Buffer) => {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32c(body));
  return `crc32c=:${value.toString('base64')}:`;
};

describe.each(WAYS)('uploads %s', (way, pastNodeFrom) => {
  let app: TestApp;
  let port: number;
  let file: string;
  const start = async (environment: Record<string, string> = {}, lookMs = 3_600_000) => {
    app = await startTestApp({
      environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE}`, ...environment },
      parentDir: MEMORY_DIR,
      ...{ pastNodeFrom, lookMs },
    });
    file = join(app.stateDir, 'devices', 'dax0.0');
    port = await app.listen();
  };
  const put = (body: Buffer, fields: Record<string, string> = {}, offset = 0) =>
    request(`PUT ${CONTENT}?offset=${offset}`, fields, body);
  const head = (size: number, fields = {}) =>
    request(`PUT ${CONTENT}`, { 'content-length': String(size), ...fields });
  const device = (offset: number, size: number) => {
    const part = Buffer.alloc(size);
    const descriptor = openSync(file, 'r');
    const read = readSync(descriptor, part, 0, size, offset);
    closeSync(descriptor);
    return part.subarray(0, read);
  };
  /** Waits until the device has what was sent; the last of it may not be written yet. */
  const arrives = async (size: number) => {
    const most = bytes.subarray(0, size - 65_536);
    while (!device(0, most.length).equals(most)) await sleep(5);
  };
  const written = (body: Buffer) => JSON.parse(body.toString()).bytes_written as number;

  describe('that end well, or early', () => {
    beforeAll(() => start());
    afterAll(() => app.close());

    test('it is that way', async () => {
      const submitted = jest.spyOn(Engine.prototype, 'submit');
      const answer = await exchange(port, put(bytes));
      const past = submitted.mock.calls.filter(([{ source }]) => source === SOCKET);
      submitted.mockRestore();
      expect(past.length > 0).toBe(way === 'past Node');
      expect(JSON.parse(answer.body.toString())).toMatchObject({
        ...{ bytes_written: SIZE, crc32c: crcOfBytes },
      });
      expect(device(0, SIZE).equals(bytes)).toBe(true);
    });

    test('of any size, one behind the other on a connection, with others in between', async () => {
      const random = new Random();
      await random.explain(async () => {
        const wire = new Wire(port);
        for (let round = 0; round < runs(600); round++) {
          const size = random.logInteger(1, 6 * MIB);
          const from = random.integer(0, SIZE - size);
          const offset = random.integer(0, SIZE - size);
          const body = bytes.subarray(from, from + size);
          const answer = await wire.send(put(body, KEEP, offset)).answer();
          expect(JSON.parse(answer.body.toString())).toMatchObject({
            ...{ bytes_written: size, crc32c: crc32cText(body) },
          });
          expect(answer.headers.connection).not.toBe('close');
          expect(device(offset, size).equals(body)).toBe(true);
          expect((await wire.send(request('GET /livez', KEEP)).answer()).status).toBe(200);
        }
        wire.end();
      });
    });

    test('pipelined: nothing of what is behind a body is taken for a part of it', async () => {
      const [first, second] = [bytes.subarray(0, 3 * MIB + 1), bytes.subarray(7, 2 * MIB)];
      const wire = new Wire(port).send(
        Buffer.concat([
          put(first, KEEP),
          request('GET /livez', KEEP),
          put(second, KEEP, 4 * MIB),
          request(`GET ${CONTENT}`, { ...KEEP, range: `bytes=0-${first.length - 1}` }),
          put(Buffer.from('small'), KEEP, 8 * MIB),
          request('GET /livez'),
        ]),
      );
      expect(written((await wire.answer()).body)).toBe(first.length);
      expect((await wire.answer()).status).toBe(200);
      expect(written((await wire.answer()).body)).toBe(second.length);
      expect((await wire.answer()).body.equals(first)).toBe(true);
      expect(written((await wire.answer()).body)).toBe(5);
      expect((await wire.answer()).status).toBe(200);
      await wire.closed;
      expect(wire.length).toBe(0);
      expect(device(4 * MIB, second.length).equals(second)).toBe(true);
    });

    test('of a client that waits for "100 Continue", and that sends in small pieces', async () => {
      const body = bytes.subarray(11, 3 * MIB);
      const wire = new Wire(port).send(head(body.length, { ...KEEP, expect: '100-continue' }));
      await wire.sees('100 Continue');
      for (let at = 0, size = 1; at < body.length; at += size, size = (size * 7) % 65_521) {
        wire.send(body.subarray(at, at + size));
        if (size < 1000) await sleep(2);
      }
      expect(written((await wire.answer()).body)).toBe(body.length);
      expect(device(0, body.length).equals(body)).toBe(true);
      expect((await wire.send(request('GET /livez')).answer()).status).toBe(200);
      await wire.closed;
    });

    test('Content-Digest is compared, CRC-32C and SHA-256', async () => {
      const body = bytes.subarray(0, 3 * MIB);
      const sha256 = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
      for (const digest of [crcField(body), sha256]) {
        expect((await exchange(port, put(body, { 'content-digest': digest }))).status).toBe(200);
        const other = body.subarray(1);
        const wrong = await exchange(port, put(other, { 'content-digest': digest }));
        expectProblem(wrong, 422, 'digest_mismatch');
        expect(written(wrong.body)).toBe(other.length);
      }
    });

    test('64 at once, each to its own place, and many to the same', async () => {
      const part = 300_001;
      await Promise.all(
        Array.from({ length: 64 }, async (_, n) => {
          const body = bytes.subarray(n, n + part);
          const answer = await exchange(port, put(body, {}, n * part));
          expect(JSON.parse(answer.body.toString()).crc32c).toBe(crc32cText(body));
          expect(device(n * part, part).equals(body)).toBe(true);
        }),
      );
      const bodies = Array.from({ length: 6 }, (_, n) => bytes.subarray(n * MIB, (n + 2) * MIB));
      await Promise.all(bodies.map((body) => exchange(port, put(body))));
      const left = device(0, 2 * MIB);
      expect(bodies.filter((body) => body.equals(left))).toHaveLength(1);
    });

    test('cut at any byte: what arrived is written, nothing else, and no descriptor stays open', async () => {
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const open = descriptors();
      const before = await counted(app);
      const zeros = Buffer.alloc(6 * MIB);
      const cuts = [1, 100, 65_535, 65_536, 131_072, 262_144, 262_145, MIB, 2 * MIB + 1, 5 * MIB];
      for (const [n, cut] of cuts.entries()) {
        await exchange(port, put(zeros));
        const wire = new Wire(port).send(head(6 * MIB)).send(bytes.subarray(0, cut));
        await sleep(50);
        if (n % 3 === 0) {
          // Only its half: it can still read the answer.
          wire.socket.end();
          const answer = await wire.answer();
          expectProblem(answer, 400, 'invalid_request');
          expect(written(answer.body)).toBe(cut);
        } else if (n % 3 === 1) wire.socket.destroy();
        else wire.socket.resetAndDestroy();
        for (let tries = 0; ; tries++) {
          expect(tries).toBeLessThan(400);
          const { client_closed: closed = 0 } = await counted(app);
          if (closed === (before.client_closed as number) + n + 1) break;
          await sleep(10);
        }
        // A reset may have thrown away what was not read yet.
        const arrived = device(0, 6 * MIB);
        const kept = arrived.subarray(0, cut).findLastIndex((byte) => byte !== 0) + 1;
        expect(kept).toBeLessThanOrEqual(cut);
        expect(arrived.subarray(0, kept).equals(bytes.subarray(0, kept))).toBe(true);
        expect(arrived.subarray(cut).equals(zeros.subarray(cut))).toBe(true);
        if (n % 3 !== 2) expect(kept).toBeGreaterThan(cut - 16);
      }
      expect((await counted(app)).failed).toBe(before.failed);
      for (let tries = 0; descriptors() > open; tries++) {
        expect(tries).toBeLessThan(200);
        await sleep(25);
      }
    });

    test('without a descriptor to be had it goes on through Node', async () => {
      const real = Engine.prototype.submit;
      let refused = 0;
      const submitted = jest.spyOn(Engine.prototype, 'submit').mockImplementation(function (
        this: Engine,
        job,
        listener,
      ) {
        if (job.source !== SOCKET || refused++ < 2) return real.call(this, job, listener);
        setImmediate(() => listener.done(failedCompletion(0, -constants.errno.EMFILE)));
        return 0;
      });
      const answer = await exchange(port, put(bytes));
      submitted.mockRestore();
      expect(JSON.parse(answer.body.toString()).crc32c).toBe(crcOfBytes);
      expect(device(0, SIZE).equals(bytes)).toBe(true);
      expect(refused > 2).toBe(way === 'past Node');
    });

    test('bytes are counted, all of them once', async () => {
      const before = await counted(app);
      await exchange(port, put(bytes));
      const after = await counted(app);
      expect((after.bytes as number) - (before.bytes as number)).toBe(SIZE);
      expect((after.complete as number) - (before.complete as number)).toBe(1);
    });

    test('the event loop goes on, and other uploads do, beside some that stall', async () => {
      const wires = Array.from({ length: 20 }, (_, n) =>
        new Wire(port)
          .send(request(`PUT ${CONTENT}?offset=${n * MIB}`, { 'content-length': String(MIB) }))
          .send(bytes.subarray(0, 300_000)),
      );
      await sleep(200);
      const body = bytes.subarray(0, 2 * MIB);
      for (let i = 0; i < 10; i++) {
        expect((await exchange(port, request('GET /livez'))).status).toBe(200);
        const answer = await exchange(port, put(body, {}, 21 * MIB));
        expect(written(answer.body)).toBe(body.length);
      }
      for (const wire of wires) {
        expect((await wire.send(bytes.subarray(300_000, MIB)).answer()).status).toBe(200);
      }
    });
  });

  deepTest(
    'one that stalls is cut off with 408, a slow one is not',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1' });
      const stalled = new Wire(port).send(head(4 * MIB)).send(bytes.subarray(0, MIB));
      const slow = new Wire(port).send(
        request(`PUT ${CONTENT}?offset=${8 * MIB}`, { 'content-length': String(2 * MIB) }),
      );
      const answer = stalled.answer();
      for (let at = 0; at < 2 * MIB; at += MIB / 4) {
        slow.send(bytes.subarray(at, at + MIB / 4));
        await sleep(400);
      }
      expect(written((await slow.answer()).body)).toBe(2 * MIB);
      const cut = await answer;
      expectProblem(cut, 408, 'request_timeout');
      expect(written(cut.body)).toBe(MIB);
      expect(cut.headers.connection).toBe('close');
      await app.close();
    },
    30_000,
  );

  deepTest(
    'a slow device is not taken for a client that sends nothing',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1', DMAD_FAULTS: '1' });
      const slow = { kind: 'slow', delay_ms: 3500, offset: MIB, size: 1 };
      await app.ask({
        ...{ method: 'POST', url: '/faults', payload: { device_name: 'dax0.0', ...slow } },
      });
      expect(written((await exchange(port, put(bytes))).body)).toBe(SIZE);
      expect(device(0, SIZE).equals(bytes)).toBe(true);
      await app.close();
    },
    30_000,
  );

  deepTest(
    'a device that is slow to take what came is not held against the client',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1' });
      const running = jest.spyOn(Engine.prototype, 'isRunning').mockReturnValue(true);
      const wire = new Wire(port).send(head(4 * MIB)).send(bytes.subarray(0, 2 * MIB));
      // Through Node, what came is there, and the device is waited for without a limit.
      if (way === 'past Node') await sleep(2500);
      running.mockRestore();
      expect(written((await wire.send(bytes.subarray(2 * MIB, 4 * MIB)).answer()).body)).toBe(
        4 * MIB,
      );
      await app.close();
    },
    30_000,
  );

  deepTest(
    'bursts that come in time are not cut off, also after a pause at the beginning',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1' });
      const body = bytes.subarray(0, 4 * MIB);
      const wire = new Wire(port).send(head(body.length)).send(body.subarray(0, 10));
      let sent = 10;
      for (const until of [20_000, 40_000, 60_000, 80_000]) {
        await sleep(750);
        wire.send(body.subarray(sent, until));
        sent = until;
      }
      expect(written((await wire.send(body.subarray(sent)).answer()).body)).toBe(body.length);
      await app.close();
    },
    30_000,
  );

  deepTest(
    'one that is to be flushed and is cut short leaves nothing unflushed',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1' });
      const unflushed = jest.spyOn(UnflushedDevices.prototype, 'add');
      const cut = request(`PUT ${CONTENT}?durability=flush`, { 'content-length': String(4 * MIB) });
      const stalled = new Wire(port).send(cut).send(bytes.subarray(0, 2 * MIB));
      expectProblem(await stalled.answer(), 408, 'request_timeout');
      const left = new Wire(port).send(cut).send(bytes.subarray(0, 2 * MIB));
      await sleep(100);
      left.socket.end();
      expectProblem(await left.answer(), 400, 'invalid_request');
      expect(unflushed).not.toHaveBeenCalled();
      unflushed.mockRestore();
      await app.close();
    },
    30_000,
  );

  deepTest(
    'one that drips is cut off, though it never stalls',
    async () => {
      await start({ DMAD_UPLOAD_IDLE_SECONDS: '1' });
      const wire = new Wire(port).send(head(4 * MIB)).send(bytes.subarray(0, 300_000));
      const answer = wire.answer();
      const drip = setInterval(() => wire.send('x'), 200);
      const began = performance.now();
      expectProblem(await answer, 408, 'request_timeout');
      clearInterval(drip);
      expect(performance.now() - began).toBeGreaterThan(4000);
      await app.close();
    },
    60_000,
  );

  test('one that is under way at the end of the drain is answered with shutting_down', async () => {
    await start();
    const wire = new Wire(port).send(head(4 * MIB)).send(bytes.subarray(0, MIB));
    await arrives(MIB);
    const closed = app.close(100);
    const answer = await wire.answer();
    expectProblem(answer, 503, 'shutting_down');
    expect(written(answer.body)).toBe(MIB);
    await closed;
  });

  test('what fails in the middle is a problem, and its client can send all and read it', async () => {
    await start({ DMAD_FAULTS: '1' });
    for (const offset of [MIB, 5 * MIB]) {
      const fault = { device_name: 'dax0.0', kind: 'media_error', offset, size: 1 };
      expect((await app.ask({ method: 'POST', url: '/faults', payload: fault })).status).toBe(201);
      const wire = new Wire(port).send(put(bytes, KEEP));
      const answer = await wire.answer();
      expectProblem(answer, 502, 'media_error');
      const kept = written(answer.body);
      expect(kept).toBeLessThanOrEqual(offset);
      expect(device(0, kept).equals(bytes.subarray(0, kept))).toBe(true);
      wire.end();
    }
    expect((await exchange(port, put(bytes))).status).toBe(200);
    await app.close();
  });

  test('a device that goes ends it, though its client stalls', async () => {
    await start({}, 20);
    const wire = new Wire(port).send(head(8 * MIB)).send(bytes.subarray(0, 2 * MIB));
    await arrives(2 * MIB);
    truncateSync(file, 4096);
    const state = async () => (await app.inject({ url: '/devices/dax0.0' })).json().state;
    while ((await state()) !== 'gone') await sleep(5);
    wire.send(bytes.subarray(2 * MIB, 4 * MIB));
    const answer = await wire.answer();
    expectProblem(answer, 503, 'device_gone');
    expect(written(answer.body)).toBeGreaterThanOrEqual(2 * MIB - 65_536);
    truncateSync(file, SIZE);
    while ((await state()) !== 'online') await sleep(5);
    expect((await exchange(port, put(bytes))).status).toBe(200);
    await app.close();
  });

  test('what it leaves half-written is not copied on', async () => {
    await start();
    const wire = new Wire(port).send(head(4 * MIB)).send(bytes.subarray(0, 2 * MIB));
    await arrives(2 * MIB);
    const copy = { device_name: 'dax0.0', size: 4096, durability: 'none' };
    const [torn, whole] = [3 * MIB, MIB].map((src_offset) =>
      app.post({ ...copy, src_offset, dst_offset: 8 * MIB + src_offset }, { prefer: 'wait=20' }),
    );
    await sleep(100);
    wire.end();
    expect((await torn)?.statusCode).toBe(409);
    expect((await whole)?.statusCode).toBe(201);
    await app.close();
  });
});
