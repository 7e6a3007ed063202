// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeCertificate } from '../support/certificates.ts';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = '{"device_name":"dax0.0","src_offset":0,"dst_offset":4096,"size":4096}';
const portOf = (url: string) => Number(new URL(url).port);

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('clients that hold connections for nothing', () => {
  test('are disconnected: no byte, half a header, a byte now and then, no handshake', async () => {
    const { cert, key } = makeCertificate(directory, 'server');
    const daemon = new Daemon();
    const secure = new Daemon({ DMAD_TLS_CERT: cert, DMAD_TLS_KEY: key });
    const [port, securePort] = [portOf(await daemon.ready()), portOf(await secure.ready())];
    const silent = new Wire(port);
    const half = new Wire(port).send('GET /livez HTTP/1.1\r\nhost: loc');
    const trickle = new Wire(port).send('GET /livez HTTP/1.1\r\n');
    const timer = setInterval(() => trickle.socket.writable && trickle.send('x'), 500);
    const unshaken = new Wire(securePort).send('\x16\x03\x01');
    const held = [silent, half, trickle, unshaken];
    // Nobody waits for them meanwhile.
    expect((await exchange(port, request('GET /livez'))).status).toBe(200);
    expectProblem(await half.answer(), 408, 'request_timeout');
    await Promise.all(held.map(({ closed }) => closed));
    clearInterval(timer);
    for (const wire of held) wire.end();
    await Promise.all([daemon.stop(), secure.stop()]);
  });

  test('a client that ends in the middle of a request is not waited for', async () => {
    const daemon = new Daemon();
    const port = portOf(await daemon.ready());
    const cut = [
      'POST /transfers HTTP/1.1\r\nhost: localhost\r\n',
      `POST /transfers HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{`,
      'PUT /devices/dax0.0/content HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\nhalf',
    ].map((bytes) => {
      const wire = new Wire(port).send(bytes);
      wire.socket.end();
      return wire;
    });
    await Promise.all(cut.map(({ closed }) => closed));
    // Nothing of them stands in the way of what touches the same bytes.
    const after = await exchange(port, request('POST /transfers', JSON_TYPE, COPY));
    expect(after.status).toBe(201);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });
});

test('who goes away while its upload waits for its turn does not wait any more', async () => {
  const daemon = new Daemon({ DMAD_UPLOAD_IDLE_SECONDS: '3600' });
  const port = portOf(await daemon.ready());
  const put = (body: string) =>
    new Wire(port).send(
      request(
        'PUT /devices/dax0.0/content',
        { 'content-length': '6', expect: '100-continue' },
        body,
      ),
    );
  const first = put('one');
  await first.sees('100 Continue');
  const waiting = ['second', 'thi'].map(put);
  for (const wire of waiting) await wire.sees('100 Continue');
  for (const wire of waiting) wire.end();
  // The first one is still there, and sends nothing.
  while (daemon.log().filter(({ msg }) => msg === 'upload cut short').length < 2) await sleep(5);
  expect((await first.send('two').answer()).status).toBe(200);
  const read = await exchange(port, request('GET /devices/dax0.0/content', { range: 'bytes=0-5' }));
  expect(read.body.toString()).toBe('onetwo');
  const written = { msg: 'upload written', device: 'dax0.0', offset: 0, bytes_written: 6 };
  expect(daemon.log().filter(({ msg }) => msg === written.msg)).toMatchObject([written]);
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
}, 60_000);

test('a transfer is in the audit log, though its answer never went out', async () => {
  const daemon = new Daemon();
  const port = portOf(await daemon.ready());
  const audited = () => daemon.log().filter(({ log }) => log === 'audit');
  // The transfer waits behind it.
  const upload = new Wire(port).send(
    request('PUT /devices/dax0.0/content', { 'content-length': '6', expect: '100-continue' }),
  );
  await upload.sees('100 Continue');
  const wire = new Wire(port).send(request('POST /transfers', JSON_TYPE, COPY));
  const queued = async () => {
    const list = await exchange(port, request('GET /transfers?status=queued'));
    return JSON.parse(list.body.toString()).transfers.length === 1;
  };
  while (!(await queued())) await sleep(5);
  expect(audited()).toEqual([]);
  wire.socket.resetAndDestroy();
  while (audited().length === 0) await sleep(5);

  upload.send('one');
  await sleep(50);
  upload.socket.resetAndDestroy();
  while (audited().length === 1) await sleep(5);
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  expect(audited()).toMatchObject([
    { method: 'POST', path: '/transfers', outcome: 'unfinished', status: null },
    { method: 'PUT', outcome: expect.stringMatching(/unfinished|failed/) },
  ]);
}, 60_000);

test('SIGSTOP and SIGCONT: what was under way goes on, and ends right', async () => {
  const daemon = new Daemon();
  const port = portOf(await daemon.ready());
  const upload = new Wire(port).send(
    request('PUT /devices/dax0.0/content', { 'content-length': '6' }, 'one'),
  );
  const segments = Array(2000).fill({ src_offset: 0, dst_offset: 0, size: 2 ** 19 });
  const body = JSON.stringify({ device_name: 'dax1.0', dst_device_name: 'dax0.0', segments });
  const copy = new Wire(port).send(
    request('POST /transfers', { ...JSON_TYPE, prefer: 'wait=60' }, body),
  );
  const events = new Wire(port).send(request('GET /events'));
  await events.sees('200 OK');
  for (let turn = 0; turn < 5; turn++) {
    daemon.child.kill('SIGSTOP');
    await sleep(100);
    daemon.child.kill('SIGCONT');
    await sleep(20);
  }
  expect((await upload.send('two').answer()).status).toBe(200);
  const answer = await copy.answer();
  expect(answer.status).toBe(201);
  expect(JSON.parse(answer.body.toString()).bytes_completed).toBe(2000 * 2 ** 19);
  events.end();
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
});
