// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { FakePeer, rangeOf } from '../support/fake-peer.ts';
import { writePeers } from '../support/peers.ts';

const SIZE = 2 ** 20;
const BLOCK = 65_536;
const HALF = SIZE / 2;

let directory: string;
let peer: FakePeer;
let app: TestApp;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  peer = await FakePeer.listen(randomBytes(SIZE));
  app = await startTestApp({
    environment: { DMAD_PEERS_FILE: writePeers(directory, [{ name: 'hostb', url: peer.url }]) },
  });
});
afterAll(async () => {
  await app.close();
  await peer.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A replication of all of dax0.0 that fails in its last block. */
beforeEach(async () => {
  peer.bytes.set(randomBytes(SIZE));
  peer.lie = (request, response, url) => {
    if (url.pathname.endsWith('/digests')) return false;
    const { first, last, range } = rangeOf(request, SIZE);
    const body = Buffer.from(peer.bytes.subarray(first, last + 1));
    if (last === SIZE - 1) body[body.length - 1] = ~(body.at(-1) as number);
    response.writeHead(206, { 'content-length': body.length, 'content-range': range }).end(body);
    return true;
  };
  const payload = {
    ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
    ...{ dst_offset: 0, size: SIZE, block_size: BLOCK },
  };
  const headers = { prefer: 'wait=60' };
  const answer = await app.ask({ method: 'POST', url: '/replications', payload, headers });
  expectProblem(answer, 502, 'digest_mismatch');
  expect(await inconsistent()).toEqual([[0, SIZE]]);
});

const inconsistent = async (name = 'dax0.0') => {
  const device = (await app.inject({ url: `/devices/${name}` })).json();
  const ranges: { offset: number; size: number }[] = device.inconsistent;
  const bytes = ranges.reduce((sum, { size }) => sum + size, 0);
  const { body } = await app.inject({ url: '/metrics' });
  expect(body).toContain(`dmad_device_inconsistent_bytes{device="${name}"} ${bytes}\n`);
  return ranges.map(({ offset, size }) => [offset, size]);
};
const upload = (offset: number, bytes: Buffer, headers: Record<string, string> = {}) =>
  app.ask({
    ...{ method: 'PUT', url: `/devices/dax0.0/content?offset=${offset}`, payload: bytes },
    headers: { 'content-type': 'application/octet-stream', ...headers },
  });
const transfer = async (request: object) => (await app.post(request)).statusCode;

test('an upload over all of it', async () => {
  expect((await upload(0, randomBytes(SIZE))).status).toBe(200);
  expect(await inconsistent()).toEqual([]);
});

test('uploads over parts of it', async () => {
  expect((await upload(BLOCK, randomBytes(4096))).status).toBe(200);
  expect((await upload(SIZE - 10, randomBytes(10))).status).toBe(200);
  expect(await inconsistent()).toEqual([
    [0, BLOCK],
    [BLOCK + 4096, SIZE - BLOCK - 4096 - 10],
  ]);
});

test('an upload that is not what its digest says clears nothing', async () => {
  const headers = { 'content-digest': 'crc32c=:AAAAAA==:' };
  expectProblem(await upload(0, randomBytes(SIZE), headers), 422, 'digest_mismatch');
  expect(await inconsistent()).toEqual([[0, SIZE]]);
});

test('a fill, and a copy from elsewhere', async () => {
  const fill = { ...{ operation: 'fill', device_name: 'dax0.0' }, pattern: '5a' };
  expect(await transfer({ ...fill, dst_offset: 0, size: HALF })).toBe(201);
  expect(await inconsistent()).toEqual([[HALF, HALF]]);
  const copy = { device_name: 'dax1.0', dst_device_name: 'dax0.0' };
  const segments = [
    { src_offset: 0, dst_offset: HALF, size: 100 },
    { src_offset: 0, dst_offset: SIZE - 100, size: 100 },
  ];
  expect(await transfer({ ...copy, segments })).toBe(201);
  expect(await inconsistent()).toEqual([[HALF + 100, HALF - 200]]);
});

test('reading it, comparing it and writing to another device clear nothing', async () => {
  const whole = { src_offset: 0, dst_offset: 0, size: SIZE };
  const compare = { operation: 'compare', device_name: 'dax1.0', dst_device_name: 'dax0.0' };
  expect(await transfer({ ...compare, ...whole })).toBe(201);
  expect(await transfer({ device_name: 'dax0.0', dst_device_name: 'dax1.0', ...whole })).toBe(201);
  expect(await inconsistent()).toEqual([[0, SIZE]]);
});

test('a copy of its bytes is as inconsistent as they are, and stays so on its way back', async () => {
  const whole = { src_offset: 0, dst_offset: 0, size: SIZE };
  const part = { src_offset: 0, dst_offset: BLOCK, size: 4096 };
  const away = { device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  const back = { device_name: 'dax1.0', dst_device_name: 'dax0.0' };
  const fill = { operation: 'fill', device_name: 'dax1.0', pattern: '5a' };
  expect(await transfer({ ...fill, dst_offset: 0, size: SIZE })).toBe(201);
  expect(await transfer({ ...away, ...part })).toBe(201);
  expect(await inconsistent('dax1.0')).toEqual([[BLOCK, 4096]]);
  expect(await transfer({ ...back, ...part, src_offset: BLOCK, dst_offset: 0 })).toBe(201);
  expect(await inconsistent()).toEqual([[0, SIZE]]);
  // What lies beside it is good.
  expect(await transfer({ ...back, ...part, dst_offset: 0 })).toBe(201);
  expect(await inconsistent()).toEqual([[4096, SIZE - 4096]]);
  expect(await transfer({ ...fill, dst_offset: 0, size: SIZE })).toBe(201);
  expect(await inconsistent('dax1.0')).toEqual([]);
  expect(await transfer({ ...back, ...whole })).toBe(201);
  expect(await inconsistent()).toEqual([]);
});

test('an upload without a body clears nothing, and cuts nothing', async () => {
  const body = Readable.from([]);
  const headers = { 'content-type': 'application/octet-stream', 'transfer-encoding': 'chunked' };
  const url = `/devices/dax0.0/content?offset=${BLOCK}`;
  const answer = await app.inject({ method: 'PUT', url, payload: body, headers });
  expect(answer.statusCode).toBe(200);
  expect(await inconsistent()).toEqual([[0, SIZE]]);
});
