// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Finding } from '../../services/cli/doctor/finding.ts';
import { connect } from '../../services/client/node.ts';
import { SMALL_DEVICES } from '../support/app.ts';
import { crc32cText } from '../support/crc32c.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { dmactlFor, type Running } from '../support/dmactl.ts';
import { secretOf, writeTokens } from '../support/tokens.ts';
import { Wire } from '../support/wire.ts';

const KIB = 1024;

let directory: string;
let daemon: Daemon;
let url: string;
let dmactl: ReturnType<typeof dmactlFor>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  daemon = new Daemon(
    { DMAD_DEVICES: SMALL_DEVICES, DMAD_UPLOAD_IDLE_SECONDS: '3600' },
    { lifetimeMs: 900_000 },
  );
  url = await daemon.ready();
  dmactl = dmactlFor({ DMAD_URL: url });
});
afterAll(async () => {
  await daemon.stop();
  rmSync(directory, { recursive: true, force: true });
});

const file = (name: string) => join(directory, name);

/** A file of random bytes. */
function randomFile(name: string, size: number): Buffer {
  const bytes = randomBytes(size);
  writeFileSync(file(name), bytes);
  return bytes;
}

const blocks: Wire[] = [];
afterEach(() => {
  for (const wire of blocks.splice(0)) wire.socket.destroy();
});

/** Keeps all that touches a device waiting, from an offset on. @returns what ends that */
async function block(device: string, offset = 0): Promise<() => void> {
  const wire = new Wire(Number(new URL(url).port));
  blocks.push(wire);
  wire.send(
    `PUT /devices/${device}/content?offset=${offset} HTTP/1.1\r\nhost: localhost\r\n` +
      'transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n',
  );
  await wire.sees('100 Continue');
  return () => wire.socket.destroy();
}

describe('bytes', () => {
  test('up, copied, compared and down again are the same bytes', async () => {
    const bytes = randomFile('original', 300 * KIB + 7);
    const size = bytes.length;
    const put = await dmactl.one('put', file('original'), 'dax0.0:4096');
    expect(put).toMatchObject({
      code: 0,
      document: { ...{ command: 'put', schema_version: 1 }, crc32c: crc32cText(bytes), size },
    });
    const copy = await dmactl.run('copy', `dax0.0:4096+${size}`, 'dax1.0:1KiB', '--verify');
    expect(copy.code).toBe(0);
    expect(copy.stdout.toString()).toContain('succeeded');
    expect(
      (await dmactl.one('compare', `dax0.0:4096+${size}`, 'dax1.0:1KiB')).document,
    ).toMatchObject({ equal: true, first_difference: null });
    const get = await dmactl.one('get', `dax1.0:1KiB-${KIB + size}`, file('copy'));
    expect(get.document).toMatchObject({ bytes_received: size, crc32c: crc32cText(bytes) });
    expect(readFileSync(file('copy')).equals(bytes)).toBe(true);
    const out = await dmactl.run('get', `dax1.0:1KiB+${size}`, '-');
    expect(out.stdout.equals(bytes)).toBe(true);
    expect((await dmactl.one('checksum', `dax1.0:1KiB+${size}`)).document).toMatchObject({
      crc32c: crc32cText(bytes),
    });
    expect((await dmactl.withInput(bytes, 'put', '-', 'dax0.0:0')).code).toBe(0);
    expect((await dmactl.one('checksum', `dax0.0:0+${size}`)).document).toMatchObject({
      crc32c: crc32cText(bytes),
    });
  });

  deepTest('--resume sends and fetches only what differs, and never goes by length', async () => {
    const bytes = randomFile('resumed', 1_000_000);
    expect((await dmactl.one('put', file('resumed'), 'dax0.0:0')).document).toMatchObject({
      bytes_sent: bytes.length,
    });
    expect(
      (await dmactl.one('put', file('resumed'), 'dax0.0:0', '--resume')).document,
    ).toMatchObject({ bytes_sent: 0, crc32c: crc32cText(bytes) });
    writeFileSync(file('fetched'), bytes);
    const again = ['get', `dax0.0:0+${bytes.length}`, file('fetched'), '--resume'];
    expect((await dmactl.one(...again)).document).toMatchObject({ bytes_received: 0 });
    // One byte of the same length is another.
    const changed = Buffer.from(bytes);
    changed[500_000] = (changed[500_000] as number) ^ 1;
    writeFileSync(file('fetched'), changed);
    expect((await dmactl.one(...again)).document).toMatchObject({ bytes_received: bytes.length });
    expect(readFileSync(file('fetched')).equals(bytes)).toBe(true);
    writeFileSync(file('fetched'), Buffer.concat([bytes, bytes]));
    expect((await dmactl.one(...again)).document).toMatchObject({ bytes_received: 0 });
    expect(readFileSync(file('fetched')).equals(bytes)).toBe(true);
  });

  test('what cannot be read leaves the file as it was, and makes none', async () => {
    const bytes = randomFile('kept', 100);
    const gone = { DMAD_URL: 'http://127.0.0.1:1' };
    for (const [env, range, code] of [
      [{}, 'dax7.0:0+1', 3],
      [{}, `dax0.0:${2 ** 20 - 1}+2`, 2],
      [gone, 'dax0.0:0+1', 69],
    ] as const) {
      const at = dmactlFor({ DMAD_URL: url, ...env });
      for (const options of [[], ['--resume']]) {
        const args = ['get', range, file('kept'), '--retry-for', '100ms', ...options];
        expect((await at.one(...args)).code).toBe(code);
        expect(readFileSync(file('kept')).equals(bytes)).toBe(true);
      }
      expect((await at.one('get', range, file('unmade'), '--retry-for', '100ms')).code).toBe(code);
      expect(existsSync(file('unmade'))).toBe(false);
    }
  });

  test('fill, and a difference is exit code 1 and where it is', async () => {
    expect((await dmactl.run('fill', 'dax0.0:0+8KiB')).code).toBe(0);
    expect((await dmactl.run('fill', 'dax1.0:0+8KiB', '--pattern', '00ff')).code).toBe(0);
    const { code, document } = await dmactl.one('compare', 'dax0.0:0+8KiB', 'dax1.0:0');
    expect(code).toBe(1);
    expect(document).toMatchObject({
      equal: false,
      first_difference: { segment: 0, src_offset: 1, dst_offset: 1 },
    });
  });
});

describe('transfers', () => {
  test('detached, waited for, shown, listed, watched, planned', async () => {
    const copy = ['copy', 'dax0.0:0+64KiB', 'dax1.0:0'];
    const detached = await dmactl.run(...copy, '--detach', '--label', 'night=ly');
    const id = detached.stdout.toString().trim();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect((await dmactl.one('wait', id)).document).toMatchObject({
      transfers: [{ id, status: 'succeeded' }],
    });
    expect((await dmactl.one('show', id)).document).toMatchObject({
      transfer: { id, labels: { night: 'ly' } },
    });
    // As "top" shows it on a narrow terminal.
    expect((await dmactl.one('show', id.slice(-12))).document).toMatchObject({ transfer: { id } });
    expect(await dmactl.one('cancel', '000000000000')).toMatchObject({
      ...{ code: 3, document: { error: { code: 'not_found' } } },
    });
    expect((await dmactl.one('transfers', '--label', 'night:ly')).document).toMatchObject({
      transfers: [{ id }],
    });
    expect((await dmactl.one('transfers', '--label', 'no:no')).document).toMatchObject({
      transfers: [],
    });
    const { code, lines } = await dmactl.json('watch', id);
    expect(code).toBe(0);
    expect(lines.at(-1)).toMatchObject({ command: 'watch', transfer: { status: 'succeeded' } });
    expect((await dmactl.one(...copy, '--dry-run')).document).toMatchObject({
      plan: { dry_run: true, bytes: 64 * KIB },
    });
    for (const args of [['show', id], ['transfers'], copy]) {
      expect((await dmactl.run(...args)).stdout.toString()).toContain('succeeded');
    }
  });

  deepTest('cancelled by another dmactl, and one that has finished cannot be', async () => {
    const release = await block('dax1.0');
    const waiting = dmactl.start('copy', 'dax0.0:0+4KiB', 'dax1.0:0', '--label', 'to=cancel');
    const client = connect({ url });
    let id: string | undefined;
    while (id === undefined) {
      id = (await client.listTransfers({ label: 'to:cancel' })).transfers[0]?.id;
    }
    expect((await dmactl.one('cancel', id)).document).toMatchObject({
      transfer: { id, status: 'cancelled' },
    });
    expect((await waiting.ended).code).toBe(1);
    release();
    const done = (
      await client.runTransfer({
        device_name: 'dax0.0',
        ...{ src_offset: 0, dst_offset: 9000, size: 9 },
      })
    ).id;
    expect(await dmactl.one('cancel', done)).toMatchObject({
      ...{ code: 1, document: { error: { code: 'not_cancellable', transfer: { id: done } } } },
    });
    await client.close();
  });

  deepTest('one behind another', async () => {
    const release = await block('dax1.0');
    const first = (await dmactl.run('copy', 'dax0.0:0+4KiB', 'dax1.0:0', '--detach')).stdout
      .toString()
      .trim();
    const second = await dmactl.one(
      ...['fill', 'dax0.0:64KiB+4KiB', '--detach', '--depends-on', first],
    );
    expect(second.document).toMatchObject({
      transfer: { status: 'queued', depends_on: [first] },
    });
    release();
    expect((await dmactl.run('wait', first)).code).toBe(0);
    const nobody = ['compare', 'dax0.0:0+1', 'dax1.0:0', '--depends-on', THE_ID];
    expect(await dmactl.one(...nobody)).toMatchObject({
      ...{ code: 3, document: { error: { code: 'unknown_transfer' } } },
    });
  });

  deepTest('changed while it waits, and not once it has finished', async () => {
    const release = await block('dax1.0');
    const copy = ['copy', 'dax0.0:0+4KiB', 'dax1.0:0', '--detach', '--timeout', '1h'];
    const labels = ['--label', 'a=1', '--label', 'b=2'];
    const id = (await dmactl.run(...copy, ...labels)).stdout.toString().trim();
    const all = ['--priority', 'high', '--timeout', '2h', '--label', 'c=3', '--remove-label', 'a'];
    expect((await dmactl.one('change', id, ...all)).document).toMatchObject({
      transfer: { id, priority: 'high', timeout_ms: 7_200_000 },
    });
    const forever = await dmactl.run('change', id, '--timeout', 'none');
    expect(forever.stdout.toString()).toMatch(/queued.*priority high, no time limit\n$/);
    const { document } = await dmactl.one('show', id);
    expect(document.transfer).toMatchObject({ labels: { b: '2', c: '3' }, timeout_ms: null });
    expect((await dmactl.one('change', id)).code).toBe(2);
    release();
    expect((await dmactl.run('wait', id)).code).toBe(0);
    expect(await dmactl.one('change', id, '--priority', 'low')).toMatchObject({
      ...{ code: 1, document: { error: { code: 'not_changeable' } } },
    });
  });
});

describe('a batch', () => {
  const copy = (to: number, more = {}) => ({
    ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: to },
    ...{ size: '4KiB', ...more },
  });
  const inputs: [string, unknown[]][] = [
    ['lines', [copy(0), copy(4096, { depends_on: ['#0'] })]],
    ['array', [copy(0)]],
  ];

  test.each(inputs)('of %s: all succeed', async (how, requests) => {
    const text =
      how === 'array'
        ? JSON.stringify(requests)
        : requests.map((one) => JSON.stringify(one)).join('\n');
    writeFileSync(file('batch'), text);
    expect(await dmactl.one('batch', file('batch'))).toMatchObject({
      code: 0,
      document: { command: 'batch', transfers: requests.map(() => ({ status: 'succeeded' })) },
    });
    const ended = await dmactl.withInput(Buffer.from(text), 'batch', '-', '--detach');
    const ids = ended.stdout.toString().trim().split('\n');
    expect(ids).toHaveLength(requests.length);
    expect((await dmactl.run('wait', ...ids)).code).toBe(0);
    expect((await dmactl.one('batch', file('batch'), '--dry-run')).document).toMatchObject({
      plans: requests.map(() => ({ bytes: 4096 })),
    });
    expect((await dmactl.run('batch', file('batch'))).stdout.toString()).toMatch(/succeeded/);
  });

  deepTest('with one that is wrong: none', async () => {
    const before = (await dmactl.one('transfers')).document;
    const requests = { transfers: [copy(0), copy(2 ** 40)] };
    writeFileSync(file('batch'), JSON.stringify(requests));
    expect(await dmactl.one('batch', file('batch'))).toMatchObject({
      code: 2,
      document: {
        error: { code: 'out_of_range', errors: [{ pointer: '/transfers/1/dst_offset' }] },
      },
    });
    expect((await dmactl.one('transfers')).document).toEqual(before);
    const usage = async (text: string, message: RegExp) => {
      writeFileSync(file('batch'), text);
      const { code, stderr } = await dmactl.one('batch', file('batch'));
      expect([code, message.test(stderr)]).toEqual([2, true]);
    };
    await usage('', /has no transfer/);
    await usage('{"size": 1}\n{', /line 2 of .*batch is no JSON/);
    expect((await dmactl.one('batch', file('missing'))).code).toBe(2);
  });

  deepTest('with one that fails: exit code 1', async () => {
    const release = await block('dax1.0');
    const requests = [copy(0, { timeout_ms: 50 }), copy(0, { depends_on: ['#0'] })];
    writeFileSync(file('batch'), JSON.stringify(requests));
    expect(await dmactl.one('batch', file('batch'))).toMatchObject({
      code: 1,
      document: {
        transfers: [{ error: { code: 'timeout' } }, { error: { code: 'dependency_failed' } }],
      },
    });
    release();
  });

  deepTest('Ctrl-C cancels all of it', async () => {
    const release = await block('dax1.0');
    const labels = { is: 'batched' };
    writeFileSync(file('batch'), JSON.stringify([copy(0, { labels }), copy(0, { labels })]));
    const running = dmactl.start('batch', file('batch'), '--json');
    const client = connect({ url });
    const find = async () => (await client.listTransfers({ label: 'is:batched' })).transfers;
    while ((await find()).length === 0) {}
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect([code, stderr.includes('cancelled 2 transfers')]).toEqual([130, true]);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      error: { transfers: [{ status: 'cancelled' }, { status: 'cancelled' }] },
    });
    expect((await find()).map(({ status }) => status)).toEqual(['cancelled', 'cancelled']);
    release();
    await client.close();
  });
});

describe('Ctrl-C', () => {
  const interrupt = async (running: Running, what: RegExp) => {
    await running.says(what);
    running.child.kill('SIGINT');
  };

  test('once cancels what was started, and says so', async () => {
    const release = await block('dax1.0');
    const running = dmactl.start(
      'copy',
      'dax0.0:0+4KiB',
      'dax1.0:0',
      '--label',
      'is=cut',
      '--json',
    );
    const client = connect({ url });
    const find = async () => (await client.listTransfers({ label: 'is:cut' })).transfers[0];
    while ((await find()) === undefined) {}
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(/cancelled transfer/);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      error: { code: 'interrupted', exit_code: 130, transfer: { status: 'cancelled' } },
    });
    expect((await find())?.status).toBe('cancelled');
    release();
    await client.close();
  });

  deepTest('ends an upload, and says how to go on', async () => {
    const release = await block('dax1.0');
    randomFile('interrupted', 4 * KIB);
    const client = connect({ url });
    /** Every dmactl asks for it first. */
    const versions = async () =>
      /_count\{[^}]*"\/version"[^}]*\} (\d+)/.exec(await client.getMetrics())?.[1];
    const before = await versions();
    const running = dmactl.start('put', file('interrupted'), 'dax1.0:0');
    while ((await versions()) === before) await sleep(20);
    await client.close();
    running.child.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect([code, stderr.includes('--resume goes on')]).toEqual([130, true]);
    release();
  });

  deepTest('twice leaves it and prints its id', async () => {
    const { server, at } = await neverCancelling();
    const running = dmactlFor({ DMAD_URL: at }).start('copy', 'dax0.0:0+1', 'dax1.0:0');
    await running.says(/^/);
    await server.watched;
    running.child.kill('SIGINT');
    await interrupt(running, /cancelling/);
    const { code, stdout, stderr } = await running.ended;
    expect([code, stdout.toString()]).toEqual([130, `${THE_ID}\n`]);
    expect(stderr).toContain('goes on');
    server.close();
  });
});

const THE_ID = '01a21b3b-8448-7000-8000-020c775470dc';

/** A daemon with one transfer that runs for ever, and no answer to those who would cancel it. */
async function neverCancelling() {
  let seen = () => {};
  const watched = new Promise<void>((resolve) => {
    seen = resolve;
  });
  const transfer = { id: THE_ID, status: 'running', size: 10, bytes_completed: 5, engine: 'cpu' };
  const http: Server = createServer((request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (request.url === '/version') answer(200, { daemon: '0', api: { major: 1 } });
    else if (request.url === '/transfers') answer(202, transfer);
    else if (request.url?.endsWith('/events')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: status\ndata: ${JSON.stringify(transfer)}\n\n`);
      seen();
    }
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const at = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const close = () => {
    http.closeAllConnections();
    http.close();
  };
  return { server: { watched, close }, at };
}

describe('exit codes', () => {
  const expectError = async (
    [exit, code]: [number, string],
    env: Record<string, string>,
    ...args: string[]
  ) => {
    const ended = await dmactlFor({ DMAD_URL: url, ...env }).one(...args);
    expect(ended).toMatchObject({
      ...{ code: exit, document: { schema_version: 1, error: { code, exit_code: exit } } },
    });
    expect(ended.stderr).toMatch(/^dmactl: /);
    return ended;
  };

  deepTest.each<[string, [number, string], string[]]>([
    ['a command that is none', [2, 'usage'], ['frobnicate']],
    ['an argument that is missing', [2, 'usage'], ['copy', 'dax0.0:0+1']],
    ['a range that is none', [2, 'usage'], ['checksum', 'dax0.0:1MB']],
    ['ranges of two sizes', [2, 'usage'], ['copy', 'dax0.0:0+1', 'dax0.0:5+2']],
    ['a file that is missing', [2, 'usage'], ['put', '/nonexistent/file', 'dax0.0:0']],
    ['what lies outside', [2, 'out_of_range'], ['copy', 'dax0.0:0+2MiB', 'dax1.0:0']],
    [
      'what the daemon calls invalid',
      [2, 'invalid_request'],
      ['fill', 'dax0.0:0+1', '--pattern', 'x'],
    ],
    ['a device that is none', [3, 'unknown_device'], ['copy', 'dax7.0:0+1', 'dax1.0:0']],
    ['a transfer that is none', [3, 'not_found'], ['show', THE_ID]],
    ['a device that is none, read', [3, 'not_found'], ['get', 'dax7.0:0+1', '/dev/null']],
    [
      'an engine that is missing',
      [1, 'engine_unavailable'],
      ['copy', 'dax0.0:0+1', 'dax1.0:0', '--engine', 'dma'],
    ],
  ])('%s', async (_what, expected, args) => {
    await expectError(expected, {}, ...args);
  });

  deepTest.each([
    ['', ['frobnicate']],
    ['copy', ['copy', 'dax0.0:0+1']],
    ['copy', ['copy', 'dax0.0:0+1', 'dax1.0:0', '--nonsense']],
    ['copy', ['copy', 'dax0.0:0+1', 'dax1.0:0', 'more']],
    ['copy', ['copy', 'dax0.0:0+1', 'dax1.0:0', '--engine', 'steam']],
    ['wait', ['wait']],
    ['token', ['token', 'frobnicate']],
    ['token add', ['token', 'add']],
    ['hosts add', ['hosts', 'add', 'hosta']],
  ])('a usage error names the command, as far as it is one: %j', async (command, args) => {
    const { document } = await expectError([2, 'usage'], {}, ...args);
    expect(document).toMatchObject({ command });
  });

  deepTest('a command that is missing', async () => {
    for (const [command, list] of [
      ['', 'completion'],
      ['hosts', 'remove'],
    ] as const) {
      const args = command === '' ? [] : [command];
      const { document, stderr } = await expectError([2, 'usage'], {}, ...args);
      expect(document).toMatchObject({ command, error: { message: stderr.slice(8).trim() } });
      expect(stderr).toMatch(/^dmactl: name a command: .*--help/);
      const told = await dmactlFor({ DMAD_URL: url }).run(...args);
      expect(told).toMatchObject({ code: 2, stderr: expect.stringContaining(list) });
    }
  });

  deepTest.each(['two words', 'two\nlines', 'gr\u00fcn'])(
    '78: a token that cannot be one: %j',
    async (secret) => {
      await expectError([78, 'configuration'], { DMAD_TOKEN: secret }, 'devices');
    },
  );

  deepTest('1: a transfer that fails has it', async () => {
    const release = await block('dax1.0');
    const late = ['copy', 'dax0.0:0+1', 'dax1.0:0', '--timeout', '50ms'];
    expect((await expectError([1, 'timeout'], {}, ...late)).document).toMatchObject({
      error: { transfer: { status: 'failed' } },
    });
    release();
  });

  deepTest('4 and 5: access, and a queue that is full', async () => {
    const tokens = writeTokens(directory, [
      { name: 'all' },
      { name: 'little', limits: { transfers_in_flight: 1 } },
      { name: 'reader', scopes: ['transfers:read'] },
    ]);
    const guarded = new Daemon({ DMAD_TOKENS_FILE: tokens, DMAD_DEVICES: SMALL_DEVICES });
    const at = { DMAD_URL: await guarded.ready() };
    await expectError([4, 'unauthenticated'], at, 'devices');
    const reader = { ...at, DMAD_TOKEN: secretOf('reader') };
    await expectError([4, 'forbidden'], reader, 'fill', 'dax0.0:0+1');
    // Behind an upload that never comes.
    const wire = new Wire(Number(new URL(at.DMAD_URL).port));
    wire.send(
      'PUT /devices/dax0.0/content HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n' +
        `authorization: Bearer ${secretOf('all')}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    await wire.sees('100 Continue');
    const little = { ...at, DMAD_TOKEN: secretOf('little') };
    const fill = ['fill', 'dax0.0:0+1', '--retry-for', '1ms'];
    expect((await dmactlFor(little).run(...fill, '--detach')).code).toBe(0);
    await expectError([5, 'queue_full'], little, ...fill);
    wire.socket.destroy();
    await guarded.stop();
  });

  deepTest(
    '69: nobody there; 78: a token file for everybody, or an address that is none',
    async () => {
      await expectError([69, 'unreachable'], { DMAD_URL: 'http://127.0.0.1:1' }, 'devices');
      await expectError([69, 'unreachable'], { DMAD_URL: 'unix:/nonexistent/sock' }, 'devices');
      const token = file('token');
      writeFileSync(token, 'secret\n');
      chmodSync(token, 0o644);
      const open = await expectError([78, 'configuration'], {}, 'devices', '--token-file', token);
      expect(open.stderr).toContain('chmod 600');
      const home = file('home');
      mkdirSync(join(home, '.config/dmad'), { recursive: true });
      writeFileSync(join(home, '.config/dmad/token'), 'secret\n', { mode: 0o640 });
      await expectError([78, 'configuration'], { HOME: home }, 'devices');
      chmodSync(join(home, '.config/dmad/token'), 0o600);
      expect((await dmactlFor({ DMAD_URL: url, HOME: home }).run('devices')).code).toBe(0);
      await expectError([78, 'configuration'], { DMAD_URL: 'ftp://x' }, 'devices');
      await expectError([2, 'usage'], {}, 'devices', '--url', 'nonsense');
    },
  );
});

deepTest('tokens: made, listed, removed; 75 while somebody else is at the file', async () => {
  const tokens = file('made.yaml');
  const { one, run } = dmactlFor({ DMAD_TOKENS_FILE: tokens });
  const added = await one(
    'token',
    'add',
    'night',
    '--scope',
    'transfers:read',
    '--device',
    'dax0.0:ro',
  );
  expect(added).toMatchObject({ code: 0, document: { name: 'night', file: tokens } });
  expect(added.document.secret).toMatch(/^dmad_/);
  expect((await one('token', 'list')).document).toMatchObject({
    tokens: [{ name: 'night', scopes: ['transfers:read'], devices: [{ name: 'dax0.0' }] }],
  });
  writeFileSync(`${tokens}.new`, '');
  expect(await one('token', 'remove', 'night')).toMatchObject({
    ...{ code: 75, document: { error: { code: 'busy' } } },
  });
  rmSync(`${tokens}.new`);
  expect((await one('token', 'remove', 'nobody')).code).toBe(3);
  expect((await run('token', 'remove', 'night')).code).toBe(0);
  expect((await one('token', 'list')).document).toMatchObject({ tokens: [] });
  const before = readFileSync(tokens, 'utf8');
  for (const wrong of [
    ['x', '--scope', 'nonsense'],
    ['a name', '--scope', 'transfers:read'],
    ['x', '--scope', 'transfers:read', '--device', 'dax0.0:rx'],
    ['x', '--scope', 'transfers:read', '--bytes-per-second', 'much'],
  ]) {
    expect([wrong, (await one('token', 'add', ...wrong)).code]).toEqual([wrong, 2]);
  }
  expect(readFileSync(tokens, 'utf8')).toBe(before);
  writeFileSync(tokens, 'tokens: 1\n');
  expect((await one('token', 'add', 'x', '--scope', 'transfers:read')).code).toBe(78);
});

describe('the other kind of service', () => {
  let gateway: Server;
  let gatewayUrl: string;
  beforeAll(async () => {
    gateway = createServer((_request, answer) => {
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ fleet: '1.0.0', api: { major: 1, minor: 0 }, node: '20.20.2' }));
    });
    await new Promise<void>((listening) => {
      gateway.listen(0, '127.0.0.1', listening);
    });
    gatewayUrl = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    gateway.close();
  });

  test('is named, and the one that is needed', async () => {
    const atGateway = dmactlFor({ DMAD_URL: gatewayUrl });
    const [engines, hosts] = await Promise.all([
      atGateway.one('engines'),
      dmactl.one('hosts', 'list'),
    ]);
    const usage = { code: 2, document: { error: { code: 'usage' } } };
    expect([engines, hosts]).toMatchObject([usage, usage]);
    expect(engines.stderr).toMatch(/"dmactl engines" needs a host's daemon.* fleet's gateway/);
    expect(hosts.stderr).toMatch(/"dmactl hosts list" needs a fleet's gateway.* host's daemon/);
  });

  deepTest.each([
    ['calibrate'],
    ['bench'],
    ['replicate', 'hostb:dax0.0:0+1', 'dax1.0:0'],
    ['replications', 'list'],
    ['replications', 'show', THE_ID],
    ['replications', 'change', THE_ID, '--rate', '1MiB'],
    ['replications', 'cancel', THE_ID],
  ])('is no place for %s', async (...args) => {
    const { code, stderr } = await dmactlFor({ DMAD_URL: gatewayUrl }).run(...args);
    expect(stderr).toContain("needs a host's daemon");
    expect(code).toBe(2);
  });
});

deepTest.each([
  [['copy', 'dax0.0:0', 'dax1.0:0'], /^dmactl: source: "dax0\.0:0" does not say how much/],
  [['fill', 'dax0.0:0+1', '--timeout', 'soon'], /^dmactl: --timeout: "soon" is no time/],
  [['put', '/nonexistent/file', 'dax0.0:0'], /^dmactl: \/nonexistent\/file: no such file or dir/],
  [
    ['devices', '--token-file', '/nonexistent'],
    /^dmactl: \/nonexistent: no such file or directory/,
  ],
])('a message begins with what is wrong: %j', async (args, expected) => {
  expect((await dmactl.run(...args)).stderr).toMatch(expected);
});

describe('all the rest', () => {
  deepTest('devices, engines, calibrate, bench, top and doctor', async () => {
    expect((await dmactl.one('devices')).document).toMatchObject({
      devices: [{ name: 'dax0.0' }, {}],
    });
    expect((await dmactl.one('engines')).document).toMatchObject({ engines: { cpu: {} } });
    expect((await dmactl.one('calibrate')).document).toMatchObject({ engines: { auto: {} } });
    const bench = [
      'bench',
      '--size',
      '64KiB',
      '--seconds',
      '0.01',
      '--overwrite',
      'dax1.0:0+256KiB',
    ];
    expect((await dmactl.one(...bench)).document).toMatchObject({
      figures: [{ work: 'request' }, {}, {}, {}, {}, {}, {}, {}],
    });
    expect((await dmactl.one('top', '--once')).document).toMatchObject({ devices: [{}, {}] });
    const { code, document } = await dmactl.one('doctor');
    // Daemons of other tests run on this host as well, some of them insecure.
    const problems = (document.findings as unknown as Finding[]).filter(
      ({ level }) => level === 'problem',
    );
    expect(problems.filter(({ subject }) => !subject.startsWith('tokens of '))).toEqual([]);
    expect(code).toBe(problems.length === 0 ? 0 : 1);
    const gone = dmactlFor({ DMAD_URL: 'http://127.0.0.1:1' });
    expect(await gone.one('doctor')).toMatchObject({ code: 1 });
    for (const args of [['devices'], ['engines'], ['top'], ['doctor'], ['transfers']]) {
      const { code, stdout } = await dmactl.run(...args);
      if (args[0] !== 'doctor') expect(code).toBe(0);
      expect(stdout.length).toBeGreaterThan(50);
      // Colours and control sequences are for terminals.
      expect(stdout.toString()).not.toContain('\x1b');
    }
  });

  deepTest('a reader that has seen enough, and an output that is full', async () => {
    const shell = (script: string) =>
      spawnSync('bash', ['--norc', '-c', `set -o pipefail; ${script}`], {
        env: { PATH: process.env.PATH, DMAD_URL: url },
        encoding: 'utf8',
      });
    const dmactl = `"${process.execPath}" "${resolve('dist/services/cli/main.js')}"`;
    const list = shell(`${dmactl} devices | head -c 1`);
    expect([list.status, list.stderr]).toEqual([0, '']);
    // Bytes that nobody took are no success.
    const bytes = shell(`${dmactl} get dax1.0 - | head -c 1 >/dev/null`);
    expect([bytes.status, bytes.stderr]).toEqual([
      ...[1, 'dmactl: standard output cannot be written: write EPIPE\n'],
    ]);
    const full = shell(`${dmactl} devices >/dev/full`);
    expect([full.status, full.stderr]).toEqual([
      ...[1, expect.stringContaining('standard output cannot be written: ENOSPC')],
    ]);
  });

  deepTest('top follows what begins, what waits and what ends', async () => {
    const release = await block('dax1.0');
    const top = dmactl.start('top', '--json');
    let text = '';
    top.child.stdout?.on('data', (data) => {
      text += data;
    });
    const sees = async (id: string, status: string) => {
      for (;;) {
        const picture = JSON.parse(text.trimEnd().split('\n').at(-1) || '{}');
        const found = picture.transfers?.find((one: { id: string }) => one.id === id);
        if (found?.status === status) return picture;
        await sleep(50);
      }
    };
    const id = (await dmactl.run('copy', 'dax0.0:0+4KiB', 'dax1.0:0', '--detach')).stdout
      .toString()
      .trim();
    expect(await sees(id, 'queued')).toMatchObject({
      ...{ command: 'top', queued: 1 },
      streams: [{ direction: 'upload', device_name: 'dax1.0' }],
    });
    release();
    expect(await sees(id, 'succeeded')).toMatchObject({ queued: 0 });
    top.child.kill('SIGINT');
    expect((await top.ended).code).toBe(0);
  });

  test('a stream of JSON ends with Ctrl-C', async () => {
    const watching = dmactl.start('watch', '--json');
    const lines: string[] = [];
    watching.child.stdout?.on('data', (data) => lines.push(String(data)));
    while (lines.length === 0) await dmactl.run('fill', 'dax0.0:0+1');
    watching.child.kill('SIGINT');
    expect((await watching.ended).code).toBe(130);
    expect(JSON.parse(String(lines[0]).split('\n')[0] as string)).toMatchObject({
      command: 'watch',
    });
  });

  test('completion in bash', async () => {
    const { stdout } = await dmactl.run('completion', 'bash');
    const complete = (...words: string[]) =>
      execFileSync(
        'bash',
        [
          '-c',
          `${stdout}
COMP_WORDS=(dmactl ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
_dmactl; printf '%s\\n' "\${COMPREPLY[@]}"`,
        ],
        { encoding: 'utf8' },
      )
        .trim()
        .split('\n');
    expect(complete('co')).toEqual(['copy', 'compare', 'completion']);
    expect(complete('copy', 'a', 'b', '--ver')).toEqual(['--verify', '--version']);
    expect(complete('copy', '--engine', '')).toEqual(['auto', 'dma', 'cpu']);
    expect(complete('token', 're')).toEqual(['remove']);
    expect(complete('token', 'add', '--sc')).toEqual(['--scope']);
    expect(complete('--url', 'http://x', 'copy', 'a', '--ver')).toEqual(['--verify', '--version']);
    expect(complete('completion', 'z')).toEqual(['zsh']);
  });

  const testWith = (path: string) => (existsSync(path) ? deepTest : test.skip);
  const ZSH = '/usr/bin/zsh';
  const FISH = '/usr/bin/fish';

  testWith(ZSH)('completion in zsh: as a file in $fpath, and read by source', async () => {
    const { stdout } = await dmactl.run('completion', 'zsh');
    mkdirSync(file('zsh'));
    writeFileSync(file('zsh/_dmactl'), stdout);
    /** Types words and Tab, and waits until the line is as expected. */
    const completes = (load: string, words: string, line: string) =>
      execFileSync(
        ZSH,
        [
          '-fc',
          `zmodload zsh/zpty
zpty shell 'TERM=dumb ${ZSH} -fi'
zpty -w shell 'PS1=; ${load}; print rea""dy'
zpty -r shell output '*ready*'
zpty -n -w shell '${words}'$'\\t'
zpty -r shell output '*${line}*'
zpty -d shell`,
        ],
        { env: { ...process.env, HOME: directory }, timeout: 30_000 },
      );
    const loads = [
      `fpath=(${file('zsh')} $fpath); autoload -U compinit; compinit -u -D`,
      `autoload -U compinit; compinit -u -D; source ${file('zsh/_dmactl')}`,
    ];
    for (const load of loads) {
      completes(load, 'dmactl compl', 'dmactl completion ');
      completes(load, 'dmactl copy a b --engine d', 'dmactl copy a b --engine dma ');
      completes(load, 'dmactl --url x token rem', 'token remove ');
    }
  });

  testWith(FISH)('completion in fish', async () => {
    const { stdout } = await dmactl.run('completion', 'fish');
    writeFileSync(file('dmactl.fish'), stdout);
    const complete = (words: string) =>
      execFileSync(
        FISH,
        ['--no-config', '-c', `source ${file('dmactl.fish')}; complete -C '${words}'`],
        { encoding: 'utf8', env: { ...process.env, HOME: directory } },
      )
        .trim()
        .split('\n')
        .map((line) => line.split('\t')[0]);
    expect(complete('dmactl co').sort()).toEqual(['compare', 'completion', 'copy']);
    expect(complete('dmactl copy a b --ver').sort()).toEqual(['--verify', '--version']);
    expect(complete('dmactl copy --engine ').sort()).toEqual(['auto', 'cpu', 'dma']);
    expect(complete('dmactl token re')).toEqual(['remove']);
    expect(complete('dmactl token add --sc')).toEqual(['--scope']);
    expect(complete('dmactl completion z')).toEqual(['zsh']);
    expect(complete(`dmactl put ${directory}/dmactl.f`)).toEqual([file('dmactl.fish')]);
  });
});
