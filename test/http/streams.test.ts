// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { StreamList } from '../../services/client/types.ts';
import { BodyHashes } from '../../services/daemon/devices/body-hashes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { bearer, writeTokens } from '../support/tokens.ts';
import { Wire } from '../support/wire.ts';

const MIB = 2 ** 20;

let directory: string;
let app: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  app = await startTestApp({
    environment: {
      DMAD_DEVICES: 'emulated:dax0.0=64MiB,emulated:dax1.0=1MiB',
      DMAD_TOKENS_FILE: writeTokens(directory, [
        ...[{ name: 'anna' }, { name: 'bert' }],
        { name: 'boss', scopes: ['transfers:all'] },
      ]),
    },
  });
});
afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

const streams = async (client: string): Promise<StreamList> =>
  (await app.inject({ url: '/streams', headers: bearer(client) })).json();

test('an upload that cannot begin is not listed any more', async () => {
  const begin = jest.spyOn(BodyHashes.prototype, 'begin').mockImplementation(() => {
    throw new Error('There is no thread to be had.');
  });
  const body = Buffer.alloc(4096);
  const answer = await app.inject({
    method: 'PUT',
    url: '/devices/dax1.0/content?offset=0',
    headers: {
      ...bearer('anna'),
      'content-type': 'application/octet-stream',
      'content-digest': `sha-256=:${createHash('sha256').update(body).digest('base64')}:`,
    },
    payload: body,
  });
  begin.mockRestore();
  expect(answer.statusCode).toBe(500);
  expect(await streams('anna')).toEqual({ streams: [], total: 0 });
});

async function wire(request: string): Promise<Wire> {
  const { authorization } = bearer('anna');
  const opened = new Wire(await app.listen());
  opened.send(`${request} HTTP/1.1\r\nhost: localhost\r\nauthorization: ${authorization}\r\n`);
  return opened;
}

test('an upload is listed from its place in the order to its end, with how far it is', async () => {
  const upload = await wire('PUT /devices/dax1.0/content?offset=4096');
  upload.send(`content-length: ${MIB / 2}\r\n\r\n`);
  upload.send(Buffer.alloc(300 * 1024));
  await eventually(async () => (await streams('anna')).streams[0]?.bytes_completed === 256 * 1024);
  const { streams: own, total } = await streams('anna');
  expect(own).toEqual([
    {
      request_id: expect.any(String),
      ...{ direction: 'upload', status: 'running', device_name: 'dax1.0' },
      ...{ offset: 4096, size: MIB / 2, bytes_completed: 256 * 1024 },
      ...{ created_at: expect.any(String), started_at: expect.any(String) },
    },
  ]);
  expect(total).toBe(1);
  // Another one into the same bytes waits for it. Its length is not known: it may go on to the end.
  const behind = await wire('PUT /devices/dax1.0/content?offset=8192');
  behind.send('transfer-encoding: chunked\r\n\r\n');
  await eventually(async () => (await streams('anna')).total === 2);
  expect((await streams('anna')).streams[1]).toMatchObject({
    ...{ status: 'queued', offset: 8192, size: MIB - 8192, started_at: null, bytes_completed: 0 },
  });
  upload.send(Buffer.alloc(MIB / 2 - 300 * 1024));
  const answer = await upload.answer();
  expect(answer.status).toBe(200);
  expect(answer.headers['x-request-id']).toBe(own[0]?.request_id);
  await eventually(async () => (await streams('anna')).streams[0]?.status === 'running');
  // One whose client goes away ends too.
  behind.end();
  upload.end();
  await eventually(async () => (await streams('anna')).total === 0);
});

test("a download is listed, to its client, and to those who see everybody's, with whose it is", async () => {
  const download = await wire('GET /devices/dax0.0/content');
  download.send('range: bytes=4096-67108863\r\n\r\n');
  download.socket.pause();
  await eventually(async () => (await streams('anna')).total === 1);
  const [own] = (await streams('anna')).streams;
  expect(own).toMatchObject({
    ...{ direction: 'download', status: 'running', device_name: 'dax0.0' },
    ...{ offset: 4096, size: 64 * MIB - 4096 },
  });
  expect(own).not.toHaveProperty('client');
  expect(await streams('bert')).toEqual({ streams: [], total: 0 });
  expect((await streams('boss')).streams[0]).toMatchObject({ client: 'anna' });
  download.end();
  await eventually(async () => (await streams('boss')).total === 0);
});

test('HEAD, and what is refused, is no stream', async () => {
  const headers = bearer('anna');
  await app.inject({ method: 'HEAD', url: '/devices/dax0.0/content', headers });
  await app.inject({
    url: '/devices/dax0.0/content',
    headers: { ...headers, range: 'bytes=9e9-' },
  });
  expect(await streams('anna')).toEqual({ streams: [], total: 0 });
});

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
