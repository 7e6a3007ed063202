// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';

const MIB = 2 ** 20;
let app: TestApp;

beforeEach(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: 'emulated:dax0.0=16MiB,emulated:dax1.0=16MiB' },
    parentDir: MEMORY_DIR,
  });
});

afterEach(() => app.close());

function calibrate(payload?: object) {
  return app.inject({ method: 'POST', url: '/engines/calibrate', ...(payload && { payload }) });
}

async function engines() {
  return (await app.inject({ url: '/engines' })).json();
}

const cpu = { latency_ns: expect.any(Number), bytes_per_second: expect.any(Number) };

describe('POST /engines/calibrate', () => {
  test('measures the CPU in its own memory if no body says otherwise', async () => {
    expect((await engines()).auto.calibration).toBeNull();
    const answer = await calibrate();
    expect(answer.statusCode).toBe(200);
    const { auto } = answer.json();
    expect(auto).toEqual({
      ...{ dma_from_bytes: null, both_from_bytes: null },
      calibration: {
        ...{ measured_at: expect.any(String), device_name: null },
        ...{ cpu, dma: null, both: null },
      },
    });
    expect(auto.calibration.cpu.bytes_per_second).toBeGreaterThan(0);
    expect(await engines()).toEqual(answer.json());
    expect(readdirSync(app.stateDir)).not.toContain('calibration-memory');
  });

  test('overwrites the range that it is given, and nothing else', async () => {
    const content = Buffer.alloc(16 * MIB, 0x55);
    content.fill(0x66, 4 * MIB, 8 * MIB).fill(0x77, 8 * MIB, 12 * MIB);
    await app.inject({ method: 'PUT', url: '/devices/dax0.0/content', payload: content });
    const answer = await calibrate({ device_name: '/dev/dax0.0', offset: '4MiB', size: '8MiB' });
    expect(answer.statusCode).toBe(200);
    expect(answer.json().auto.calibration).toMatchObject({ device_name: 'dax0.0' });
    const after = (await app.inject({ url: '/devices/dax0.0/content' })).rawPayload;
    expect(after.equals(content.fill(0x66, 8 * MIB, 12 * MIB))).toBe(true);
  });

  test('keeps what it found', async () => {
    await calibrate();
    const path = join(app.stateDir, 'calibration.json');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ deviceName: null });
    expect(existsSync(`${path}.new`)).toBe(false);
  });

  test.each([
    ['offset', { size: '8MiB' }, 400, 'invalid_request', '/offset'],
    ['size', { offset: 0, size: '4MiB' }, 400, 'invalid_request', '/size'],
    ['more', { offset: 0, size: '8MiB', more: 1 }, 400, 'invalid_request', '/more'],
    ['range', { offset: '12MiB', size: '8MiB' }, 422, 'out_of_range', '/size'],
    ['device', { device_name: 'dax9.9', offset: 0, size: '8MiB' }, 422, 'unknown_device'],
  ])('refuses a wrong %s', async (_what, body, status, code, pointer = '/device_name') => {
    const answer = await calibrate({ device_name: 'dax0.0', ...body });
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toMatchObject({ code, errors: [{ pointer }] });
  });

  test('refuses a range with a bad block', async () => {
    app.inventory.get('dax0.0').badBlocks = [{ offset: 5 * MIB, size: 512 }];
    const answer = await calibrate({ device_name: 'dax0.0', offset: 0, size: '8MiB' });
    expect(answer.json()).toMatchObject({ status: 422, code: 'bad_block' });
  });

  test('measures one at a time', async () => {
    const answers = await Promise.all([calibrate(), calibrate()]);
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 429]);
    const refused = answers.find(({ statusCode }) => statusCode === 429);
    expect(refused?.headers['retry-after']).toBeDefined();
  });

  test('waits for what was accepted before and touches the range', async () => {
    const blocker = await app.block('dax0.0', 2 * MIB);
    let over = false;
    const answer = calibrate({ device_name: 'dax0.0', offset: 0, size: '8MiB' }).then((one) => {
      over = true;
      return one;
    });
    await calibrate({ device_name: 'dax1.0', offset: 0, size: '8MiB' });
    expect(over).toBe(false);
    await blocker.release();
    expect((await answer).statusCode).toBe(200);
  });
});

describe('a calibration that was kept', () => {
  const restartWith = async (change: (kept: Record<string, unknown>) => unknown) => {
    await calibrate();
    const kept = JSON.parse(readFileSync(join(app.stateDir, 'calibration.json'), 'utf8'));
    const next = await startTestApp({
      parentDir: MEMORY_DIR,
      prepare: (stateDir) => {
        writeFileSync(join(stateDir, 'calibration.json'), JSON.stringify(change(kept)));
      },
    });
    await app.close();
    app = next;
    return kept;
  };

  test('holds after a restart', async () => {
    const kept = await restartWith((same) => same);
    expect((await engines()).auto.calibration.measured_at).toBe(kept.measuredAt);
  });

  test.each([
    ['was made on other hardware', (kept: object) => ({ ...kept, hardware: '2 x Other' })],
    ['has no speed', (kept: object) => ({ ...kept, cpu: { latencyNs: 0, bytesPerSecond: 1 } })],
    ['is something else', () => 'nothing'],
  ])('counts as none where it %s', async (_what, change) => {
    await restartWith(change);
    expect((await engines()).auto.calibration).toBeNull();
  });
});
