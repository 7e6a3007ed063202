// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { bearer, secretOf, sha256Of, writeTokens } from '../support/tokens.ts';
import { exchange, request, Wire } from '../support/wire.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = '{"device_name":"dax0.0","src_offset":0,"dst_offset":4096,"size":4096}';
const portOf = (url: string) => Number(new URL(url).port);

test('SIGHUP: what is taken away is refused at once, also where a connection is open', async () => {
  const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'stays' }, { name: 'goes' }]);
  const daemon = new Daemon({ DMAD_TOKENS_FILE });
  const port = portOf(await daemon.ready());
  const keepAlive = { ...bearer('goes'), connection: 'keep-alive' };
  const open = new Wire(port).send(request('GET /devices', keepAlive));
  expect((await open.answer()).status).toBe(200);
  const watching = ['goes', 'stays'].map((name) =>
    new Wire(port).send(request('GET /events', bearer(name))),
  );
  for (const wire of watching) await wire.sees('200 OK');
  const upload = new Wire(port).send(
    request('PUT /devices/dax1.0/content', { ...bearer('goes'), 'content-length': '9' }, 'half'),
  );
  // Its place in the order is taken: a transfer behind it waits.
  const behind = new Wire(port).send(
    request(
      'POST /transfers',
      { ...JSON_TYPE, ...bearer('stays'), prefer: 'wait=30' },
      COPY.replace('dax0.0', 'dax1.0'),
    ),
  );

  writeFileSync(DMAD_TOKENS_FILE, 'tokens: [');
  daemon.child.kill('SIGHUP');
  await daemon.logged(/tokens stay as they were/);
  expect((await open.send(request('GET /devices', keepAlive)).answer()).status).toBe(200);

  writeTokens(directory, [{ name: 'stays' }]);
  daemon.child.kill('SIGHUP');
  await daemon.logged(/tokens read again/);
  await watching[0]?.closed;
  await upload.closed;
  // It would have copied what the upload did not bring.
  expectProblem(await behind.answer(), 409, 'source_incomplete');
  expect((await open.send(request('GET /devices', keepAlive)).answer()).status).toBe(401);
  expect((await exchange(port, request('GET /devices', bearer('stays')))).status).toBe(200);
  await watching[1]?.sees('event: status');
  for (const wire of [open, ...watching, upload, behind]) wire.end();
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
});

deepTest(
  'SIGHUP: limits act at once on what is queued, raised, taken away and lowered',
  async () => {
    const MIB = 2 ** 20;
    const tokens = (bytes_per_second?: number) =>
      writeTokens(directory, [
        { name: 'anna', limits: bytes_per_second === undefined ? {} : { bytes_per_second } },
      ]);
    const DMAD_TOKENS_FILE = tokens(MIB);
    const daemon = new Daemon({
      DMAD_TOKENS_FILE,
      DMAD_DEVICES: `emulated:dax0.0=${64 * MIB}`,
    });
    const port = portOf(await daemon.ready());
    const reload = async (bytes_per_second?: number) => {
      tokens(bytes_per_second);
      const before = daemon.log().filter(({ msg }) => /tokens read again/.test(String(msg))).length;
      daemon.child.kill('SIGHUP');
      while (
        daemon.log().filter(({ msg }) => /tokens read again/.test(String(msg))).length === before
      ) {
        await sleep(5);
      }
    };
    const post = (prefer: string, size = 32 * MIB) =>
      exchange(
        port,
        request(
          'POST /transfers',
          { ...JSON_TYPE, ...bearer('anna'), prefer },
          JSON.stringify({
            ...{ device_name: 'dax0.0', src_offset: 0, dst_offset: 32 * MIB, size },
            durability: 'none',
          }),
        ),
      );
    // At 128 KiB/s they would take minutes, and half a minute.
    for (const faster of [1024 * MIB, undefined]) {
      await reload(MIB / 8);
      const waiting = post('wait=20');
      const range = { range: `bytes=0-${4 * MIB - 1}` };
      const reading = exchange(
        port,
        request('GET /devices/dax0.0/content', { ...bearer('anna'), ...range }),
      );
      await sleep(300);
      const began = performance.now();
      await reload(faster);
      // Neither is broken off, for the token may do what it could.
      expect((await waiting).status).toBe(201);
      expect((await reading).body).toHaveLength(4 * MIB);
      expect(performance.now() - began).toBeLessThan(10_000);
    }
    // Without a limit the second would start as soon as the first has ended.
    await reload(64 * MIB);
    const first = JSON.parse((await post('respond-async')).body.toString());
    await reload(1024);
    const state = async () =>
      JSON.parse(
        (
          await exchange(port, request(`GET /transfers/${first.id}`, bearer('anna')))
        ).body.toString(),
      ).status;
    await sleep(1500);
    expect(await state()).toBe('queued');
    await reload(undefined);
    while ((await state()) !== 'succeeded') await sleep(20);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  },
);

deepTest(
  'SIGHUP follows links that were swapped, as Kubernetes does with a volume of secrets',
  async () => {
    const volume = join(directory, 'volume');
    const publish = (version: string, name: string) => {
      mkdirSync(join(volume, version), { recursive: true });
      chmodSync(writeTokens(join(volume, version), [{ name }]), 0o644);
      symlinkSync(version, join(volume, '..data_tmp'));
      renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
    };
    publish('..2026_1', 'first');
    const DMAD_TOKENS_FILE = join(volume, 'tokens.yaml');
    symlinkSync('..data/tokens.yaml', DMAD_TOKENS_FILE);
    const daemon = new Daemon({ DMAD_TOKENS_FILE });
    const port = portOf(await daemon.ready());
    const status = async (name: string) =>
      (await exchange(port, request('GET /devices', bearer(name)))).status;
    expect([await status('first'), await status('second')]).toEqual([200, 401]);
    publish('..2026_2', 'second');
    rmSync(join(volume, '..2026_1'), { recursive: true });
    daemon.child.kill('SIGHUP');
    await daemon.logged(/tokens read again/);
    expect([await status('first'), await status('second')]).toEqual([401, 200]);
    await daemon.stop();
  },
);

test('SIGHUP while the daemon starts is not lost', async () => {
  const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'old' }]);
  const daemon = new Daemon({ DMAD_TOKENS_FILE });
  await daemon.logged(/tokens are in use/);
  writeTokens(directory, [{ name: 'new' }]);
  daemon.child.kill('SIGHUP');
  const port = portOf(await daemon.ready());
  await daemon.logged(/tokens read again/);
  expect((await exchange(port, request('GET /devices', bearer('new')))).status).toBe(200);
  expect((await exchange(port, request('GET /devices', bearer('old')))).status).toBe(401);
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
});

test('SIGHUP means nothing where there is nothing to read again', async () => {
  const daemon = new Daemon();
  const port = portOf(await daemon.ready());
  daemon.child.kill('SIGHUP');
  expect((await exchange(port, request('GET /livez'))).status).toBe(200);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('on the Unix socket nobody needs a token, and the audit log says whose process it was', async () => {
  const DMAD_SOCKET = join(directory, 'one.sock');
  const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'anna' }]);
  const daemon = new Daemon({ DMAD_SOCKET, DMAD_TOKENS_FILE });
  const port = portOf(await daemon.ready());
  const made = await exchange(DMAD_SOCKET, request('POST /transfers', JSON_TYPE, COPY));
  expect(made.status).toBe(201);
  const { id } = JSON.parse(made.body.toString());
  const of = async (target: string | number, fields = {}) =>
    (await exchange(target, request(`GET /transfers/${id}`, fields))).status;
  expect(await of(DMAD_SOCKET)).toBe(200);
  expect(await of(port, bearer('anna'))).toBe(404);
  const { stdout } = await daemon.stop();
  expect(stdout).toContain('"log":"audit"');
  const line = daemon.log().find(({ log }) => log === 'audit');
  expect(line).toMatchObject({
    ...{ client: `uid:${process.getuid?.()}`, transfer: id, outcome: 'done', status: 201 },
    ranges: [
      { device: 'dax0.0', offset: 0, size: 4096, access: 'read' },
      { device: 'dax0.0', offset: 4096, size: 4096, access: 'write' },
    ],
  });
});

deepTest("the Unix socket sees and cancels everybody's transfers, and whose they are", async () => {
  const DMAD_SOCKET = join(directory, 'all.sock');
  const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'anna' }]);
  const daemon = new Daemon({ DMAD_SOCKET, DMAD_TOKENS_FILE });
  const port = portOf(await daemon.ready());
  const fields = { ...JSON_TYPE, ...bearer('anna') };
  const made = await exchange(port, request('POST /transfers', fields, COPY));
  const transfer = JSON.parse(made.body.toString());
  const { body } = await exchange(DMAD_SOCKET, request('GET /transfers'));
  expect(JSON.parse(body.toString()).transfers).toEqual([{ ...transfer, client: 'anna' }]);
  const late = await exchange(DMAD_SOCKET, request(`POST /transfers/${transfer.id}/cancel`));
  expect(late.status).toBe(409);
  await daemon.stop();
});

test('the audit log tells who changed a transfer, or tried to', async () => {
  const DMAD_SOCKET = join(directory, 'changes.sock');
  const DMAD_TOKENS_FILE = writeTokens(directory, [
    { name: 'anna' },
    { name: 'reader', scopes: ['transfers:read'] },
  ]);
  const daemon = new Daemon({ DMAD_SOCKET, DMAD_TOKENS_FILE });
  const port = portOf(await daemon.ready());
  const upload = { ...bearer('anna'), 'content-length': '8192', expect: '100-continue' };
  const blocker = new Wire(port).send(request('PUT /devices/dax0.0/content', upload));
  await blocker.sees('100 Continue');
  const fields = { ...JSON_TYPE, ...bearer('anna'), prefer: 'respond-async' };
  const made = await exchange(port, request('POST /transfers', fields, COPY));
  const { id } = JSON.parse(made.body.toString());
  const change = async (target: string | number, patch: object, token = {}) => {
    const type = { 'content-type': 'application/merge-patch+json', ...token };
    const bytes = request(`PATCH /transfers/${id}`, type, JSON.stringify(patch));
    return (await exchange(target, bytes)).status;
  };
  expect(await change(port, { priority: 'high' }, bearer('anna'))).toBe(200);
  expect(await change(DMAD_SOCKET, { labels: { by: 'socket' } })).toBe(200);
  expect(await change(port, { priority: 'urgent' }, bearer('anna'))).toBe(400);
  expect(await change(port, { priority: 'low' }, bearer('reader'))).toBe(403);
  blocker.end();
  const done = await exchange(
    port,
    request(`GET /transfers/${id}`, { ...fields, prefer: 'wait=30' }),
  );
  expect(done.status).toBe(200);
  expect(await change(port, { priority: 'low' }, bearer('anna'))).toBe(409);
  await daemon.stop();
  const lines = daemon.log().filter(({ log, method }) => log === 'audit' && method === 'PATCH');
  const path = `/transfers/${id}`;
  const anna = { client: 'anna', path };
  expect(lines).toMatchObject([
    { ...anna, transfer: id, outcome: 'done', status: 200 },
    { client: `uid:${process.getuid?.()}`, path, transfer: id, outcome: 'done', status: 200 },
    { ...anna, outcome: 'failed', status: 400, code: 'invalid_request' },
    { client: 'reader', path, outcome: 'refused', status: 403, code: 'forbidden' },
    { ...anna, transfer: id, outcome: 'failed', status: 409, code: 'not_changeable' },
  ]);
});

test('the audit log has each refusal, also of a client that leaves without the body that it has announced', async () => {
  const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'reader', scopes: ['transfers:read'] }]);
  const daemon = new Daemon({ DMAD_TOKENS_FILE });
  const port = portOf(await daemon.ready());
  const attempts = [
    ['POST /none', { authorization: 'Bearer wrong' }, 401],
    ['POST /transfers', { ...JSON_TYPE, ...bearer('reader') }, 403],
  ] as const;
  for (const [line, fields, status] of attempts) {
    const wire = new Wire(port).send(request(line, { ...fields, 'content-length': '9' }, 'half'));
    expect((await wire.answer()).status).toBe(status);
    wire.socket.resetAndDestroy();
  }
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  expect(daemon.log().filter(({ log }) => log === 'audit')).toMatchObject([
    { client: null, path: '/none', outcome: 'refused', status: 401 },
    { client: 'reader', path: '/transfers', outcome: 'refused', status: 403 },
  ]);
});

deepTest('without tokens, TCP and the Unix socket are one client', async () => {
  const DMAD_SOCKET = join(directory, 'one.sock');
  const daemon = new Daemon({ DMAD_SOCKET });
  const port = portOf(await daemon.ready());
  const fields = { ...JSON_TYPE, 'idempotency-key': 'the-same' };
  const made = await exchange(DMAD_SOCKET, request('POST /transfers', fields, COPY));
  const { id } = JSON.parse(made.body.toString());
  const seen = await exchange(port, request(`GET /transfers/${id}`));
  expect([seen.status, seen.body]).toEqual([200, made.body]);
  const again = await exchange(port, request('POST /transfers', fields, COPY));
  expect(again.headers['idempotency-replayed']).toBe('true');
  await daemon.stop();
  const lines = daemon.log().filter(({ log, transfer }) => log === 'audit' && transfer === id);
  expect(lines.map(({ client }) => client)).toEqual([`uid:${process.getuid?.()}`, 'anonymous']);
});

deepTest(
  'the log tells who was refused what, at any level, and no secret at the lowest',
  async () => {
    const devices = [{ name: 'dax0.0', ranges: [{ offset: 0, size: 4096 }], access: 'rw' }];
    const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'anna', devices }]);
    const wrong = 'a-secret-that-is-none-0123456789';
    const ask = async (port: number) => {
      const attempts = [
        request('POST /transfers', { ...JSON_TYPE, ...bearer('anna') }, COPY),
        request('GET /devices', { authorization: `Bearer ${wrong}` }),
        request('GET /devices', { authorization: wrong }),
        request(`GET /devices?access_token=${wrong}`),
        request(`GET /devices?access_token=${secretOf('anna')}`, bearer('anna')),
        request('GET /devices', bearer('anna')),
        request('GET /devices/dax0.0/checksum?size=4096', bearer('anna')),
        request('BROKEN /devices', bearer('anna')),
      ];
      return Promise.all(attempts.map(async (each) => (await exchange(port, each)).status));
    };
    const outputs: string[] = [];
    for (const DMAD_LOG_LEVEL of ['trace', 'fatal']) {
      const daemon = new Daemon({ DMAD_TOKENS_FILE, DMAD_LOG_LEVEL });
      const port = portOf(await daemon.ready());
      expect(await ask(port)).toEqual([403, 401, 401, 401, 400, 200, 200, 400]);
      writeFileSync(DMAD_TOKENS_FILE, `tokens: [{name: anna, sha256: "${sha256Of(wrong)}", x: 1}]`);
      daemon.child.kill('SIGHUP');
      if (DMAD_LOG_LEVEL === 'trace') await daemon.logged(/tokens stay as they were/);
      writeTokens(directory, [{ name: 'anna', devices }]);
      const { stdout, stderr } = await daemon.stop();
      outputs.push(stdout + stderr);
      const audit = daemon.log().filter(({ log }) => log === 'audit');
      expect(audit.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 403]);
      expect(audit.find(({ status }) => status === 403)).toMatchObject({
        ...{ client: 'anna', method: 'POST', path: '/transfers', outcome: 'refused' },
        ...{ code: 'forbidden', address: expect.stringContaining('127.0.0.1') },
        ranges: [{ device: 'dax0.0' }, { offset: 4096, size: 4096, access: 'write' }],
      });
      expect(audit.find(({ status }) => status === 401)).toMatchObject({ client: null });
    }
    const secrets = [secretOf('anna'), wrong];
    for (const secret of [...secrets, ...secrets.map(sha256Of)]) {
      for (const output of outputs) expect(output).not.toContain(secret);
    }
  },
);
