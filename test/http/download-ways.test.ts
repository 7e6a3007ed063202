// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readdirSync, truncateSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { failedCompletion } from '../../services/daemon/engines/completions.ts';
import { Engine } from '../../services/daemon/engines/engine.ts';
import { SOCKET } from '../../services/daemon/engines/records.ts';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { contentCounts } from '../support/content-counts.ts';
import { deepTest } from '../support/depth.ts';
import { noise } from '../support/random.ts';
import { WAYS } from '../support/ways.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
/** More than the kernel's buffers of both ends hold. */
const SIZE = 24 * MIB;
const CONTENT = '/devices/dax0.0/content';
const bytes = noise(SIZE);

const counted = (app: TestApp) => contentCounts(app, 'download');

/** Begins a download, and reads no more of it than its header. */
async function openDownload(port: number, fields = {}): Promise<Wire> {
  const wire = new Wire(port).send(request(`GET ${CONTENT}`, fields));
  await wire.sees('\r\n\r\n');
  wire.socket.pause();
  return wire;
}

/** Waits until downloads have nothing to do but to wait for their clients. */
async function untilQuiet(app: TestApp): Promise<void> {
  for (let before = -1; ; ) {
    const { bytes: now = 0 } = await counted(app);
    if (now > 0 && now === before) return;
    before = now;
    await sleep(150);
  }
}

describe.each(WAYS)('downloads %s', (way, pastNodeFrom) => {
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
    const descriptor = openSync(file, 'r+');
    writeSync(descriptor, bytes);
    closeSync(descriptor);
    port = await app.listen();
  };

  describe('that end well, or early', () => {
    beforeAll(() => start());
    afterAll(() => app.close());

    test('it is that way', async () => {
      const submitted = jest.spyOn(Engine.prototype, 'submit');
      await exchange(port, request(`GET ${CONTENT}`));
      const past = submitted.mock.calls.filter(([{ destination }]) => destination === SOCKET);
      submitted.mockRestore();
      expect(past.length > 0).toBe(way === 'past Node');
    });

    test('one behind the other on a connection, with other requests in between', async () => {
      const wire = new Wire(port);
      for (const [first, last] of [
        [0, SIZE - 1],
        [7, 9 * MIB],
        [SIZE - 1, SIZE - 1],
        [262_143, 262_144 + 5 * MIB],
      ] as const) {
        const range = { range: `bytes=${first}-${last}`, connection: 'keep-alive' };
        const answer = await wire.send(request(`GET ${CONTENT}`, range)).answer();
        expect(answer.status).toBe(206);
        expect(answer.body.equals(bytes.subarray(first, last + 1))).toBe(true);
        const live = request('GET /livez', { connection: 'keep-alive' });
        expect((await wire.send(live).answer()).status).toBe(200);
      }
      wire.end();
    });

    test('pipelined: each answer whole, in its order, and none between another', async () => {
      const keep = { connection: 'keep-alive' };
      const part = { ...keep, range: `bytes=5-${3 * MIB}` };
      const head = request(`HEAD ${CONTENT}`, keep);
      const wire = new Wire(port).send(
        Buffer.concat([
          request('GET /livez', keep),
          request(`GET ${CONTENT}`, part),
          head,
          request(`GET ${CONTENT}`, keep),
          request('GET /livez', keep),
          request(`GET ${CONTENT}`, part),
          request('GET /livez'),
        ]),
      );
      expect((await wire.answer()).status).toBe(200);
      const expectPart = async () =>
        expect((await wire.answer()).body.equals(bytes.subarray(5, 3 * MIB + 1))).toBe(true);
      await expectPart();
      expect((await wire.answer('HEAD')).headers['content-length']).toBe(String(SIZE));
      expect((await wire.answer()).body.equals(bytes)).toBe(true);
      expect((await wire.answer()).status).toBe(200);
      await expectPart();
      expect((await wire.answer()).status).toBe(200);
      await wire.closed;
      expect(wire.pending).toHaveLength(0);
    });

    test('a client reads what was there before an upload behind it on its connection', async () => {
      const body = noise(2 * MIB);
      const range = { range: `bytes=0-${body.length - 1}`, connection: 'keep-alive' };
      const wire = new Wire(port);
      wire.socket.pause();
      wire.send(
        Buffer.concat([request(`GET ${CONTENT}`, range), request(`PUT ${CONTENT}`, {}, body)]),
      );
      // Its own kernel has most of the answer by then.
      await sleep(700);
      wire.socket.resume();
      expect((await wire.answer()).body.equals(bytes.subarray(0, body.length))).toBe(true);
      expect((await wire.answer()).status).toBe(200);
      const put = request(`PUT ${CONTENT}`, {}, bytes.subarray(0, body.length));
      expect((await exchange(port, put)).status).toBe(200);
    });

    test('without a descriptor to be had it goes on through Node', async () => {
      const real = Engine.prototype.submit;
      let refused = 0;
      const submitted = jest.spyOn(Engine.prototype, 'submit').mockImplementation(function (
        this: Engine,
        job,
        listener,
      ) {
        // From the third on, in the middle of it.
        if (job.destination !== SOCKET || refused++ < 2) return real.call(this, job, listener);
        setImmediate(() => listener.done(failedCompletion(0, -constants.errno.EMFILE)));
        return 0;
      });
      const { body } = await exchange(port, request(`GET ${CONTENT}`));
      submitted.mockRestore();
      expect(body.equals(bytes)).toBe(true);
      expect(refused > 2).toBe(way === 'past Node');
    });

    test('what its client sends meanwhile is answered behind it, be it garbage', async () => {
      const wire = await openDownload(port, { connection: 'keep-alive' });
      wire.send('nonsense\r\n\r\n');
      await sleep(50);
      wire.socket.resume();
      expect((await wire.answer()).body.equals(bytes)).toBe(true);
      expect((await wire.answer()).status).toBe(400);
      await wire.closed;
    });

    test('cut by the client at any byte: counted, and no descriptor stays open', async () => {
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const before = await counted(app);
      const open = descriptors();
      const cuts = [0, 1, 100, 400, 65_536, 262_144, 262_145, 262_700, MIB, 3 * MIB, 20 * MIB];
      for (const [n, cut] of cuts.entries()) {
        const wire = new Wire(port).send(request(`GET ${CONTENT}`));
        while (wire.length < cut) await sleep(1);
        wire.socket.pause();
        if (n % 2 === 0) wire.socket.resetAndDestroy();
        else wire.socket.destroy();
      }
      const left = (counts: Record<string, number>) =>
        (counts.complete as number) + (counts.client_closed as number) + (counts.failed as number);
      // One that left before its header was read may have begun nothing.
      for (let tries = 0; left(await counted(app)) < left(before) + cuts.length; tries++) {
        expect(tries).toBeLessThan(400);
        await sleep(25);
      }
      const after = await counted(app);
      expect(after.failed).toBe(before.failed);
      // The last ones may have been sent whole into the kernel's buffers.
      expect(after.client_closed).toBeGreaterThan(before.client_closed as number);
      for (let tries = 0; descriptors() > open; tries++) {
        expect(tries).toBeLessThan(200);
        await sleep(25);
      }
    });

    test('a client that closes its half never takes a part for the whole', async () => {
      const wire = new Wire(port).send(request(`GET ${CONTENT}`));
      wire.socket.end();
      await wire.closed;
      const { pending } = wire;
      const body = pending.subarray(pending.indexOf('\r\n\r\n') + 4);
      expect(bytes.subarray(0, body.length).equals(body)).toBe(true);
      expect((await exchange(port, request(`GET ${CONTENT}`))).body.equals(bytes)).toBe(true);
    });

    test('64 at once, each with its own bytes', async () => {
      await Promise.all(
        Array.from({ length: 64 }, async (_, n) => {
          const [first, last] = [n * 1000, n * 1000 + 2 * MIB];
          const range = { range: `bytes=${first}-${last}` };
          const { body } = await exchange(port, request(`GET ${CONTENT}`, range));
          expect(body.equals(bytes.subarray(first, last + 1))).toBe(true);
        }),
      );
    });

    test('bytes are counted, all of them once', async () => {
      // The daemon counts the last ones when its client may have them already.
      await untilQuiet(app);
      const before = await counted(app);
      await exchange(port, request(`GET ${CONTENT}`));
      await untilQuiet(app);
      const after = await counted(app);
      expect((after.bytes as number) - (before.bytes as number)).toBe(SIZE);
      expect((after.complete as number) - (before.complete as number)).toBe(1);
    });

    test('the event loop goes on beside clients that do not read', async () => {
      const wires = await Promise.all(Array.from({ length: 20 }, () => openDownload(port)));
      await untilQuiet(app);
      for (let i = 0; i < 20; i++) {
        expect((await exchange(port, request('GET /livez'))).status).toBe(200);
        const range = { range: `bytes=0-${2 * MIB}` };
        const { body } = await exchange(port, request(`GET ${CONTENT}`, range));
        expect(body).toHaveLength(2 * MIB + 1);
      }
      for (const wire of wires) wire.end();
    });
  });

  /** Whether a download ends within some time, cut. */
  async function expectCut(wire: Wire): Promise<void> {
    wire.socket.resume();
    await wire.closed;
    const { pending } = wire;
    const body = pending.subarray(pending.indexOf('\r\n\r\n') + 4);
    expect(body.length).toBeLessThan(SIZE);
    expect(bytes.subarray(0, body.length).equals(body)).toBe(true);
  }

  deepTest(
    'a client that reads nothing for too long is cut off, a slow one is not',
    async () => {
      await start({ DMAD_DOWNLOAD_IDLE_SECONDS: '2' });
      const stalled = await openDownload(port);
      const slow = await openDownload(port);
      // Longer than it may stall: each time it takes something.
      for (let i = 0; i < 8; i++) {
        const before = slow.length;
        slow.socket.resume();
        while (slow.length < Math.min(SIZE, before + 2 * MIB)) await sleep(5);
        slow.socket.pause();
        await sleep(500);
      }
      const counts = await counted(app);
      expect(counts).toMatchObject({ client_closed: 1, failed: 0 });
      slow.socket.resume();
      expect((await slow.answer()).body.equals(bytes)).toBe(true);
      await expectCut(stalled);
      await app.close();
    },
    30_000,
  );

  deepTest(
    'a slow device is not taken for a client that reads nothing',
    async () => {
      await start({ DMAD_DOWNLOAD_IDLE_SECONDS: '1', DMAD_FAULTS: '1' });
      const slow = { kind: 'slow', delay_ms: 3500, offset: MIB, size: 1 };
      await app.ask({
        ...{ method: 'POST', url: '/faults', payload: { device_name: 'dax0.0', ...slow } },
      });
      const { body } = await exchange(port, request(`GET ${CONTENT}`));
      expect(body.equals(bytes)).toBe(true);
      await app.close();
    },
    30_000,
  );

  test('the end of the daemon waits for no client that stalls', async () => {
    await start();
    const wires = await Promise.all(Array.from({ length: 8 }, () => openDownload(port)));
    await untilQuiet(app);
    const began = performance.now();
    await app.close(100);
    expect(performance.now() - began).toBeLessThan(5000);
    for (const wire of wires) await expectCut(wire);
  });

  test('a device that goes is closed even if clients stall, and is served again', async () => {
    await start({}, 20);
    const wires = await Promise.all(Array.from({ length: 3 }, () => openDownload(port)));
    await untilQuiet(app);
    truncateSync(file, 4096);
    const state = async () => (await app.inject({ url: '/devices/dax0.0' })).json().state;
    while ((await state()) !== 'gone') await sleep(5);
    truncateSync(file, SIZE);
    while ((await state()) !== 'online') await sleep(5);
    for (const wire of wires) await expectCut(wire);
    expect((await exchange(port, request(`GET ${CONTENT}`))).body).toHaveLength(SIZE);
    await app.close();
  });

  test('a file that is cut short cuts its downloads, at whatever byte', async () => {
    await start();
    for (const end of [SIZE - 1, 5 * MIB + 1, MIB, 262_145]) {
      const descriptor = openSync(file, 'r+');
      writeSync(descriptor, bytes);
      closeSync(descriptor);
      truncateSync(file, end);
      const wire = new Wire(port).send(request(`GET ${CONTENT}`));
      await wire.sees('\r\n\r\n');
      await expectCut(wire);
      truncateSync(file, SIZE);
    }
    expect(await counted(app)).toMatchObject({ failed: 4, client_closed: 0 });
    await app.close();
  });

  test('bad memory on its way cuts it', async () => {
    await start({ DMAD_FAULTS: '1' });
    for (const offset of [262_144, 5 * MIB, SIZE - 1]) {
      const fault = { device_name: 'dax0.0', kind: 'media_error', offset, size: 1 };
      const set = await app.ask({ method: 'POST', url: '/faults', payload: fault });
      expect(set.status).toBe(201);
      const wire = new Wire(port).send(request(`GET ${CONTENT}`));
      await wire.sees('\r\n\r\n');
      await expectCut(wire);
    }
    const first = { device_name: 'dax0.0', kind: 'media_error', offset: 0, size: 1 };
    await app.ask({ method: 'POST', url: '/faults', payload: first });
    expect((await exchange(port, request(`GET ${CONTENT}`))).status).toBe(502);
    expect((await exchange(port, request(`GET ${CONTENT}`))).body.equals(bytes)).toBe(true);
    await app.close();
  });
});
