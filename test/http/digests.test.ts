// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { runs } from '../support/depth.ts';
import { noise } from '../support/random.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const SIZE = 9 * MIB + 4096;
const OCTETS = 'application/octet-stream';

let app: TestApp;
let port: number;
const bytes = noise(SIZE);
beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax8.0=1GiB` },
    parentDir: MEMORY_DIR,
  });
  port = await app.listen();
  await app.ask({ method: 'PUT', url: '/devices/dax0.0/content', payload: bytes });
});
afterAll(() => app.close());

/** What each block's digest is, by another way. */
function expected(offset: number, size: number, blockSize: number): string[] {
  const found: string[] = [];
  for (let at = offset; at < offset + size; at += blockSize) {
    const block = bytes.subarray(at, Math.min(at + blockSize, offset + size));
    found.push(createHash('sha256').update(block).digest('hex'));
  }
  return found;
}

const urlOf = (query: string) => `/devices/dax0.0/digests${query}`;

describe('GET digests', () => {
  test('of the whole device by default, in blocks of 1 MiB', async () => {
    const answer = await app.ask({ url: urlOf('') });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString())).toEqual({
      algorithm: 'sha256',
      block_size: MIB,
      offset: 0,
      size: SIZE,
      digests: expected(0, SIZE, MIB),
      next_page_token: '',
    });
  });

  test('an empty page_token is the first page, as in every list; the answer varies with Accept', async () => {
    const answer = await app.ask({ url: urlOf('?page_token=') });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString()).digests).toEqual(expected(0, SIZE, MIB));
    expect(answer.headers.vary).toBe('Accept');
  });

  test('of any range and block size, as JSON and as bytes', async () => {
    const range = fc.nat(SIZE - 1).chain((offset) =>
      fc.record({
        offset: fc.constant(offset),
        size: fc.oneof(fc.integer({ min: 1, max: SIZE - offset }), fc.constant(SIZE - offset)),
        power: fc.integer({ min: 12, max: 30 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(range, async ({ offset, size, power }) => {
        const blockSize = 2 ** power;
        const query = `?offset=${offset}&size=${size}&block_size=${blockSize}&algorithm=sha256`;
        const json = await app.ask({ url: urlOf(query) });
        expect(json.headers['content-type']).toMatch(/^application\/json/);
        const digests = expected(offset, size, blockSize);
        expect(JSON.parse(json.body.toString()).digests).toEqual(digests);
        const raw = await exchange(port, request(`GET ${urlOf(query)}`, { accept: OCTETS }));
        expect(raw.status).toBe(200);
        expect(raw.headers['content-type']).toBe(OCTETS);
        expect(raw.headers['content-length']).toBe(String(digests.length * 32));
        expect(raw.body.toString('hex')).toBe(digests.join(''));
      }),
      { numRuns: runs(40) },
    );
  }, 120_000);

  test.each([
    ['block_size=0', 400],
    ['block_size=2KiB', 400],
    ['block_size=12KiB', 400],
    ['block_size=2GiB', 400],
    ['block_size=x', 400],
    ['algorithm=crc32c', 400],
    ['size=0', 400],
    ['pagetoken=', 400],
    [`offset=${SIZE}`, 422],
    ['offset=1&size=1GiB', 422],
  ])('?%s is %d', async (query, status) => {
    const answer = await app.ask({ url: urlOf(`?${query}`) });
    expectProblem(answer, status, status === 400 ? 'invalid_request' : 'out_of_range');
  });

  test('other media types are not had', async () => {
    const answer = await app.ask({ url: urlOf(''), headers: { accept: 'text/html' } });
    expectProblem(answer, 406, 'not_acceptable');
  });

  test('of a device that there is not', async () => {
    expectProblem(await app.ask({ url: '/devices/dax7.0/digests' }), 404, 'not_found');
  });

  test('a bad block is named, and none is hashed', async () => {
    const device = app.inventory.get('dax0.0');
    device.badBlocks = [{ offset: 5 * MIB, size: 512 }];
    expectProblem(await app.ask({ url: urlOf('') }), 422, 'bad_block');
    const around = await app.ask({ url: urlOf('?offset=6MiB') });
    device.badBlocks = [];
    expect(around.status).toBe(200);
  });

  test.each([
    [OCTETS, String(1024 * 32)],
    ['application/json', undefined],
  ])('HEAD hashes nothing: %s', async (accept, length) => {
    const head = request('HEAD /devices/dax8.0/digests', { accept });
    const answer = await exchange(port, head, 'HEAD');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toMatch(accept);
    expect(answer.headers['content-length']).toBe(length);
  });

  test('many at once, while clients leave', async () => {
    const leaving = Array.from({ length: 20 }, () =>
      new Wire(port).send(
        request('GET /devices/dax8.0/digests?block_size=4KiB', { accept: OCTETS }),
      ),
    );
    const answers = Promise.all(
      Array.from({ length: 20 }, () =>
        exchange(port, request(`GET ${urlOf('?block_size=64KiB')}`, { accept: OCTETS })),
      ),
    );
    for (const wire of leaving) wire.end();
    const hex = expected(0, SIZE, 64 * KIB).join('');
    for (const { body } of await answers) expect(body.toString('hex')).toBe(hex);
  }, 120_000);

  test('the thread that hashes ends: 500, and another one takes its place', async () => {
    const posted = jest.spyOn(Worker.prototype, 'postMessage');
    const asked = app.ask({ url: '/devices/dax8.0/digests' });
    while (posted.mock.contexts.length === 0) await sleep(5);
    const workers = new Set(posted.mock.contexts as Worker[]);
    posted.mockRestore();
    await Promise.all([...workers].map((worker) => worker.terminate()));
    expectProblem(await asked, 500, 'internal_error');
    expect((await app.ask({ url: urlOf('') })).status).toBe(200);
  });
});
