// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { longTransfer } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const CLEAN = { code: 0, signal: null, stderr: '' };
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const ASYNC = { prefer: 'respond-async' };
const MIB = 2 ** 20;

async function start(environment: Record<string, string> = {}) {
  const daemon = new Daemon(environment);
  const url = await daemon.ready();
  return { daemon, url, port: Number(new URL(url).port) };
}

/** An upload that has its place and waits for its client. */
async function openUpload(port: number, size: number): Promise<Wire> {
  const wire = new Wire(port).send(
    request('PUT /devices/dax0.0/content', {
      ...{ 'content-length': String(size), expect: '100-continue' },
    }),
  );
  await wire.sees('100 Continue');
  return wire;
}

test.each(['SIGTERM', 'SIGINT'] as const)('%s while idle: the end, at once', async (signal) => {
  const { daemon, url } = await start({ DMAD_DRAIN_SECONDS: '3600' });
  // A connection that stays open for another request is no work.
  expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
  expect(await daemon.stop(signal)).toMatchObject(CLEAN);
});

test('SIGTERM while at work: what was taken is finished, nothing new is taken', async () => {
  const { daemon, url, port } = await start();
  const upload = await openUpload(port, 5);
  const behind = await fetchJson(`${url}/transfers`, jsonBody(COPY, ASYNC));
  expect(behind.status).toBe('queued');
  const events = new Wire(port).send(request('GET /events'));
  const ofOne = new Wire(port).send(request(`GET /transfers/${behind.id}/events`));
  await events.sees('200 OK');
  await ofOne.sees('event: status');
  const waiting = fetchAnswer(`${url}/transfers/${behind.id}`, { headers: { prefer: 'wait=60' } });

  daemon.child.kill('SIGTERM');
  await daemon.logged(/shutting down/);
  // A second one changes nothing.
  daemon.child.kill('SIGTERM');
  daemon.child.kill('SIGINT');

  const refused = await fetchAnswer(`${url}/transfers`, jsonBody(COPY));
  expectProblem(refused, 503, 'shutting_down');
  expect(refused.headers['retry-after']).toMatch(/^[1-9][0-9]*$/);
  const put = request('PUT /devices/dax1.0/content', {}, 'late');
  expectProblem(await exchange(port, put), 503, 'shutting_down');
  const ready = await fetchAnswer(`${url}/readyz`);
  expect(ready.status).toBe(503);
  expect(JSON.parse(ready.body.toString())).toMatchObject({ ready: false });
  expect(JSON.parse(ready.body.toString()).waiting_for).not.toHaveLength(0);
  expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
  expect((await fetchJson(`${url}/transfers/${behind.id}`)).status).toBe('queued');
  // Asking for what there is, and for what would be, is still answered.
  const dry = await fetchAnswer(`${url}/transfers`, jsonBody({ ...COPY, dry_run: true }));
  expect(dry.status).toBe(200);

  expect((await upload.send('bytes').answer()).status).toBe(200);
  expect(JSON.parse((await waiting).body.toString()).status).toBe('succeeded');
  expect((await ofOne.answer()).body.toString()).toContain('"status":"succeeded"');
  expect((await events.answer()).body.toString()).toContain('"status":"succeeded"');
  expect(await daemon.exited).toMatchObject(CLEAN);
});

deepTest('a replay is answered while it drains, for it is no new work', async () => {
  const { daemon, url, port } = await start();
  const keyed = { 'idempotency-key': 'k' };
  const { id } = await fetchJson(`${url}/transfers`, jsonBody(COPY, keyed));
  const upload = await openUpload(port, 1);
  daemon.child.kill('SIGTERM');
  await daemon.logged(/shutting down/);
  const replay = await fetchAnswer(`${url}/transfers`, jsonBody(COPY, keyed));
  expect(replay.status).toBe(200);
  expect(JSON.parse(replay.body.toString()).id).toBe(id);
  upload.send('x');
  expect(await daemon.exited).toMatchObject(CLEAN);
});

test('DMAD_DRAIN_SECONDS: what is left is stopped at a piece boundary, and kept', async () => {
  const size = 16 * MIB;
  const { daemon, url } = await start({
    DMAD_DRAIN_SECONDS: '1',
    DMAD_DEVICES: `emulated:dax0.0=${size},emulated:dax1.0=${size}`,
  });
  // Some minutes of work, and as much behind it.
  const long = { ...longTransfer(size), verify: 'crc32c' };
  const waiting = fetchAnswer(`${url}/transfers`, jsonBody(long, { prefer: 'wait=60' }));
  const behind = await fetchJson(`${url}/transfers`, jsonBody(long, ASYNC));
  const queued = fetchAnswer(`${url}/transfers/${behind.id}`, { headers: { prefer: 'wait=60' } });
  while ((await fetchJson(`${url}/transfers?status=running`)).transfers.length === 0)
    await sleep(10);
  expect(await daemon.stop()).toMatchObject(CLEAN);
  const problem = expectProblem(await waiting, 503, 'interrupted');
  expect(problem.transfer).toMatchObject({ status: 'interrupted' });
  expect(problem.transfer?.bytes_completed).toBeLessThan(problem.transfer?.size as number);
  // It is in the journal, and begins anew with the next daemon.
  expect(JSON.parse((await queued).body.toString()).status).toBe('queued');
});

deepTest(
  'an upload that is under way at the end of the drain is cut off, and told so',
  async () => {
    const { daemon, port } = await start({ DMAD_DRAIN_SECONDS: '1' });
    const upload = await openUpload(port, 10);
    upload.send('half!');
    daemon.child.kill('SIGTERM');
    expectProblem(await upload.answer(), 503, 'shutting_down');
    expect(await daemon.exited).toMatchObject(CLEAN);
  },
);

test('DMAD_DRAIN_SECONDS=0 waits for nothing', async () => {
  const { daemon, port } = await start({ DMAD_DRAIN_SECONDS: '0' });
  const upload = await openUpload(port, 10);
  expect(await daemon.stop()).toMatchObject(CLEAN);
  upload.end();
});

deepTest('clients that stall do not hold up the end', async () => {
  const { daemon, url, port } = await start({
    DMAD_DEVICES: 'emulated:dax0.0=64MiB,emulated:dax1.0=1MiB',
    DMAD_UPLOAD_IDLE_SECONDS: '1',
    DMAD_DRAIN_SECONDS: '3600',
  });
  const wires = [
    new Wire(port),
    new Wire(port).send('GET /livez HTTP/1.1\r\nhost:'),
    new Wire(port).send(
      request(
        'POST /transfers',
        { 'content-type': 'application/json', 'content-length': '9' },
        '{',
      ),
    ),
    new Wire(port).send(
      request('PUT /devices/dax0.0/content', { 'content-length': '10' }, 'half!'),
    ),
  ];
  const events = new Wire(port).send(request('GET /events'));
  await events.sees('200 OK');
  events.socket.pause();
  const download = new Wire(port).send(request('GET /devices/dax0.0/content'));
  await download.sees('200 OK');
  download.socket.pause();
  expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
  // The upload's own time limit ends it; nothing else is work.
  expect(await daemon.stop()).toMatchObject(CLEAN);
  for (const wire of [...wires, events, download]) wire.end();
});

test('a SIGTERM before it is ready is heard', async () => {
  const daemon = new Daemon();
  const started = Date.now();
  while (daemon.log().length === 0 && Date.now() - started < 300) await sleep(5);
  const exit = await daemon.stop();
  // Before Node runs our code, the signal ends the process as such.
  expect(exit.signal === 'SIGTERM' || exit.code === 0).toBe(true);
  expect(exit.stderr).toBe('');
});
