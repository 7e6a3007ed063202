// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { crc32c } from '../support/crc32c.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

const SIZE = 3 * 2 ** 20;
const BYTES = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 7)) % 251));
const CONTENT = '/devices/dax0.0/content';
const SHA256 = `sha-256=:${createHash('sha256').update(BYTES).digest('base64')}:`;

let directory: string;
let app: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const half = [{ name: 'dax0.0', ranges: [{ offset: 0, size: SIZE / 2 }], access: 'ro' }];
  app = await startTestApp({
    environment: {
      DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=1MiB`,
      DMAD_TOKENS_FILE: writeTokens(directory, [
        { name: 'anna' },
        { name: 'half', devices: half },
        { name: 'slow', limits: { bytes_per_second: '1GiB' } },
      ]),
    },
  });
  const put = { method: 'PUT', url: CONTENT, payload: BYTES, headers: bearer('anna') } as const;
  expect((await app.inject(put)).statusCode).toBe(200);
});
afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('Repr-Digest', () => {
  const get = (wanted: string, headers = {}, name = 'anna', method: 'GET' | 'HEAD' = 'GET') =>
    app.ask({
      ...{ method, url: CONTENT },
      headers: { ...bearer(name), 'want-repr-digest': wanted, ...headers },
    });

  test('is of all bytes, whatever the range', async () => {
    const whole = await get('sha-256=10');
    expect(whole.headers['repr-digest']).toBe(SHA256);
    expect(whole.body.equals(BYTES)).toBe(true);
    const part = await get('sha-256=10', { range: 'bytes=10-19' });
    expect([part.status, part.body.length]).toEqual([206, 10]);
    expect(part.headers['repr-digest']).toBe(SHA256);
    const head = await get('sha-256=10', {}, 'anna', 'HEAD');
    expect(head.headers['repr-digest']).toBe(SHA256);
    expect((await get('sha-256=10', {}, 'slow')).headers['repr-digest']).toBe(SHA256);
  });

  test('is a CRC-32C for those who want that', async () => {
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32c(BYTES));
    const answer = await get('crc32c=2, sha-256=1');
    expect(answer.headers['repr-digest']).toBe(`crc32c=:${crc.toString('base64')}:`);
  });

  test('is left out where it is not wanted, not known, or not for the client', async () => {
    for (const wanted of ['sha-512=10', 'sha-256=0', 'nonsense']) {
      const answer = await get(wanted, { range: 'bytes=0-0' });
      expect([answer.status, answer.headers['repr-digest']]).toEqual([206, undefined]);
    }
    const half = await get('sha-256=10', { range: 'bytes=0-0' }, 'half');
    expect([half.status, half.headers['repr-digest']]).toEqual([206, undefined]);
    expectProblem(await get('sha-256=10', {}, 'half'), 403, 'forbidden');
    const outside = await get('sha-256=10', { range: `bytes=${SIZE}-` });
    expectProblem(outside, 416, 'range_not_satisfiable');
    const device = app.inventory.get('dax0.0');
    Object.assign(device, { badBlocks: [{ offset: SIZE - 512, size: 512 }] });
    const around = await get('sha-256=10', { range: 'bytes=0-0' });
    expect([around.status, around.headers['repr-digest']]).toEqual([206, undefined]);
    Object.assign(device, { badBlocks: [] });
  });
});

describe('the durability of an upload', () => {
  const put = async (query: string) =>
    app.ask({
      ...{ method: 'PUT', url: `/devices/dax1.0/content${query}` },
      ...{ payload: BYTES.subarray(0, 600_000), headers: bearer('anna') },
    });

  test('is what was asked for, or none on a file', async () => {
    const { flushBasis } = app.inventory.get('dax1.0');
    for (const [query, requested] of [
      ['', 'none'],
      ['?durability=none', 'none'],
      ['?durability=flush', 'flush'],
    ] as const) {
      const answer = await put(query);
      expect(answer.status).toBe(200);
      const flushed = requested === 'flush' && flushBasis !== 'none';
      const volatile = requested === 'flush' && flushBasis === 'none';
      expect(JSON.parse(answer.body.toString())).toEqual({
        bytes_written: 600_000,
        crc32c: crc32c(BYTES.subarray(0, 600_000)).toString(16).padStart(8, '0'),
        durability: {
          requested,
          achieved: flushed ? 'flush' : volatile ? 'volatile' : 'none',
          basis: flushed ? flushBasis : null,
        },
      });
    }
  });

  test('is one of two words', async () => {
    expectProblem(await put('?durability=maybe'), 400, 'invalid_request');
  });
});
