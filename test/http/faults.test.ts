// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  copyFileSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { request, Wire } from '../support/wire.ts';

const SIZE = 16 * 2 ** 20;
const ASYNC = { prefer: 'respond-async' };

/** Devices that fail under the daemon's hands, for real: the file behind an emulated one changes. */
describe('faults', () => {
  let app: TestApp;
  let file: string;
  beforeAll(async () => {
    app = await startTestApp({
      environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}` },
      parentDir: MEMORY_DIR,
      // What happens before anybody has noticed.
      lookMs: 3_600_000,
    });
    file = join(app.stateDir, 'devices', 'dax0.0');
  });
  afterAll(() => app.close());

  const post = (body: unknown, headers: Record<string, string> = {}) =>
    app.ask({ method: 'POST', url: '/transfers', payload: body as object, headers });
  const wait = async (id: string) =>
    (await app.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=30' } })).json();

  test('verify_mismatch: bytes that change between the copy and the comparison', async () => {
    const descriptor = openSync(file, 'r+');
    const noise = Buffer.alloc(64 * 1024);
    const { id } = JSON.parse(
      (await post({ ...longTransfer(SIZE), verify: 'crc32c' }, ASYNC)).body.toString(),
    );
    for (let round = 0; ; round++) {
      noise.fill(round);
      for (let offset = 0; offset < SIZE; offset += noise.length * 8) {
        writeSync(descriptor, noise, 0, noise.length, offset);
      }
      await turn();
      const { status } = (await app.inject({ url: `/transfers/${id}` })).json();
      if (status === 'failed') break;
      expect(['queued', 'running']).toContain(status);
    }
    closeSync(descriptor);
    const transfer = await wait(id);
    expect(transfer).toMatchObject({
      status: 'failed',
      error: { code: 'verify_mismatch', status: 502 },
      durability: { achieved: 'none' },
      verification: { method: 'crc32c' },
    });
    expect(transfer.verification.src).not.toBe(transfer.verification.dst);
    expect(transfer.verification.segments).toBeGreaterThan(0);
    // Nobody writes any more: all is well again.
    const { segments, ...rest } = longTransfer(SIZE);
    const once = { ...rest, segments: (segments as unknown[]).slice(0, 1), verify: 'crc32c' };
    expect((await post(once)).status).toBe(201);
  });

  test('502 verify_mismatch to a client that waits', async () => {
    const descriptor = openSync(file, 'r+');
    const noise = Buffer.alloc(64 * 1024);
    let over = false;
    const waiting = post({ ...longTransfer(SIZE), verify: 'crc32c' }, { prefer: 'wait=60' });
    void waiting.finally(() => {
      over = true;
    });
    for (let round = 0; !over; round++) {
      noise.fill(round);
      for (let offset = 0; offset < SIZE; offset += noise.length * 8) {
        writeSync(descriptor, noise, 0, noise.length, offset);
      }
      await turn();
    }
    closeSync(descriptor);
    const problem = expectProblem(await waiting, 502, 'verify_mismatch');
    expect(problem.transfer).toMatchObject({
      status: 'failed',
      error: { code: 'verify_mismatch' },
    });
    expect(problem.detail).toMatch(/segment \d+/);
  });

  describe('device_gone: the end of the device is cut away', () => {
    const COPY = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0 };
    afterAll(() => truncateSync(file, SIZE));

    test('under a transfer that runs', async () => {
      const { id } = JSON.parse((await post(longTransfer(SIZE), ASYNC)).body.toString());
      while ((await app.inject({ url: `/transfers/${id}` })).json().bytes_completed === 0) {
        await turn();
      }
      truncateSync(file, SIZE / 2);
      const transfer = await wait(id);
      expect(transfer).toMatchObject({ status: 'failed', error: { code: 'device_gone' } });
      expect(transfer.bytes_completed).toBeGreaterThan(0);
      expect(transfer.bytes_completed).toBeLessThan(transfer.size);
    });

    test('503 with Retry-After, as source and as destination', async () => {
      for (const verify of ['none', 'crc32c']) {
        const source = await post({ ...COPY, size: SIZE, verify });
        const problem = expectProblem(source, 503, 'device_gone');
        expect(source.headers['retry-after']).toMatch(/^[1-9][0-9]*$/);
        expect(problem.transfer).toMatchObject({ status: 'failed' });
      }
      const swapped = { ...COPY, device_name: 'dax1.0', dst_device_name: 'dax0.0' };
      const destination = await post({ ...swapped, dst_offset: SIZE - 1, size: 1 });
      expectProblem(destination, 503, 'device_gone');
    });

    test('segments before it are done, and the answer names the one that failed', async () => {
      const at = (src_offset: number) => ({ src_offset, dst_offset: 0, size: 4096 });
      const segments = [at(0), at(4096), at(SIZE - 4096), at(0)];
      const { src_offset: _, dst_offset: __, ...devices } = COPY;
      const problem = expectProblem(await post({ ...devices, segments }), 503, 'device_gone');
      expect(problem.detail).toContain('segment 2');
      expect(problem.transfer).toMatchObject({ bytes_completed: 8192 });
    });

    test('checksum and content', async () => {
      const base = '/devices/dax0.0';
      expectProblem(await app.ask({ url: `${base}/checksum` }), 503, 'device_gone');
      expect((await app.ask({ url: `${base}/checksum?size=${SIZE / 2}` })).status).toBe(200);
      const range = { range: `bytes=${SIZE - 10}-` };
      expectProblem(await app.ask({ url: `${base}/content`, headers: range }), 503, 'device_gone');
      const offset = SIZE / 2 - 2;
      const put = { method: 'PUT', url: `${base}/content?offset=${offset + 4096}` } as const;
      expectProblem(await app.ask({ ...put, payload: 'gone' }), 503, 'device_gone');
    });

    test('a download that meets it is broken off, not ended', async () => {
      const wire = new Wire(await app.listen()).send(request('GET /devices/dax0.0/content'));
      await wire.sees('\r\n\r\n');
      await wire.closed;
      expect(wire.pending.toString('latin1', 0, 100)).toMatch(/^HTTP\/1.1 200 /);
      expect(wire.pending.length).toBeLessThan(SIZE);
    });

    test('what does not touch it goes on, and all does once it is back', async () => {
      expect((await post({ ...COPY, size: 4096 })).status).toBe(201);
      truncateSync(file, SIZE);
      expect((await post({ ...COPY, size: SIZE, verify: 'crc32c' })).status).toBe(201);
    });
  });
});

test('a device whose file was cut short is gone, and says why, until that is mended', async () => {
  const app = await startTestApp({ lookMs: 10 });
  try {
    const url = '/devices/dax0.0';
    const until = async (state: string) => {
      for (;;) {
        const device = (await app.inject({ url })).json();
        if (device.state === state) return device;
        await turn();
      }
    };
    const file = (await until('online')).path;
    truncateSync(file, 4096);
    expect((await until('gone')).state_reason).toBe('its file was cut short to 4096 bytes');
    const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 1024, size: 16 };
    const transfer = { method: 'POST', url: '/transfers', payload: copy } as const;
    const content = `${url}/content`;
    for (const refused of [
      await app.ask(transfer),
      await app.ask({ url: content }),
      await app.ask({ method: 'PUT', url: content, payload: 'x' }),
      await app.ask({ url: `${url}/checksum?size=1` }),
    ]) {
      expect(expectProblem(refused, 503, 'device_gone').detail).toContain('cut short');
    }
    const ready = (await app.inject({ url: '/readyz' })).json();
    expect(ready).toMatchObject({
      ...{ ready: true, waiting_for: [] },
      degraded: ['device dax0.0: its file was cut short to 4096 bytes'],
    });
    truncateSync(file, 2 ** 20);
    await until('online');
    expect((await app.ask(transfer)).status).toBe(201);
  } finally {
    await app.close();
  }
});

test('bytes that go into a file that was replaced are never reported as copied', async () => {
  // Nobody looks for devices meanwhile.
  const app = await startTestApp({ lookMs: 3_600_000 });
  try {
    const { path } = (await app.inject({ url: '/devices/dax1.0' })).json();
    const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0 };
    const transfer = { method: 'POST', url: '/transfers', payload: { ...copy, size: 64 } } as const;
    const upload = { method: 'PUT', url: '/devices/dax1.0/content', payload: 'x' } as const;
    for (const [change, why] of [
      [() => copyFileSync(path, `${path}.new`), undefined],
      [() => renameSync(`${path}.new`, path), 'replaced'],
      [() => rmSync(path), 'removed'],
    ] as const) {
      change();
      for (const request of [transfer, upload]) {
        const answer = await app.ask(request);
        if (why === undefined) expect(answer.status).toBeLessThan(300);
        else expect(expectProblem(answer, 503, 'device_gone').detail).toContain(why);
      }
    }
  } finally {
    await app.close();
  }
});
