// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { InjectOptions } from 'fastify';
import type { OpenAPIV3_1 } from 'openapi-types';
import { silentLog } from '../../services/base/log.ts';
import { settingsTable } from '../../services/base/settings.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { LiveTransfers, Strangers } from '../../services/fleet/hosts/live.ts';
import { FLEET_EXAMPLES } from '../../services/fleet/openapi/examples.ts';
import { helpText, PREFIX, SETTINGS } from '../../services/fleet/settings.ts';
import { fleetTransferRequestSchema } from '../../services/fleet/transfers/schema.ts';
import { FLEET_SCOPES } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { answersWithoutExample } from '../support/examples.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { bearer, writeTokens } from '../support/tokens.ts';
import { Wire, request as wireRequest } from '../support/wire.ts';

const HALF = 2 ** 19;
const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: HALF, size: 4096, host: 'hosta' };

describe('a gateway', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
  const etcd = new FakeEtcd();
  let daemon: TestApp;
  let fleet: FleetApp;

  beforeAll(async () => {
    daemon = await startTestApp();
    const url = `http://127.0.0.1:${await daemon.listen()}`;
    const tokens = writeTokens(directory, [
      { name: 'admin', scopes: FLEET_SCOPES },
      { name: 'onhosta', hosts: ['hosta'] },
      { name: 'onhostb', hosts: ['hostb'], scopes: FLEET_SCOPES },
      {
        name: 'ranges',
        devices: [
          { name: 'dax0.0', ranges: [{ offset: 0, size: HALF }], access: 'ro' },
          { name: 'dax0.0', ranges: [{ offset: HALF, size: 8192 }], access: 'rw' },
        ],
      },
      { name: 'few', limits: { transfers_in_flight: 1 } },
    ]);
    const config = readFleetConfig({
      DMAD_FLEET_ETCD: 'http://127.0.0.1:1',
      DMAD_FLEET_TOKENS_FILE: tokens,
    });
    fleet = await buildFleetApp({ config, log: silentLog(), store: etcd });
    fleet.start();
    await until(async () => (await ask('GET', '/readyz')).statusCode === 200);
    for (const name of ['hosta', 'hostb']) await ask('PUT', `/hosts/${name}`, { url });
    await until(async () => {
      const { hosts } = (await ask('GET', '/hosts')).json();
      return hosts.length === 2 && hosts.every(({ state }: { state: string }) => state === 'ready');
    });
  });
  afterAll(async () => {
    await fleet?.shutDown();
    await daemon?.close();
    rmSync(directory, { recursive: true });
  });

  function ask(
    method: InjectOptions['method'],
    url: string,
    payload?: object,
    { as = 'admin', ...headers }: Record<string, string> = {},
  ) {
    return fleet.http.inject({
      ...{
        method: method as 'GET',
        url,
        headers: { ...bearer(as), host: 'localhost', ...headers },
      },
      ...(payload && { payload }),
    });
  }
  const post = (body: object, as: string, headers = {}) =>
    ask('POST', '/transfers', body, { as, ...headers });

  test('its OpenAPI document is what is committed, and shows every operation', async () => {
    const document = (await ask('GET', '/openapi.json')).json() as OpenAPIV3_1.Document;
    expect(JSON.parse(readFileSync('openapi/fleet.json', 'utf8'))).toEqual(document);
    const operations = Object.values(document.paths ?? {}).flatMap((path) =>
      Object.values(path as Record<string, OpenAPIV3_1.OperationObject>),
    );
    const ids = operations.map(({ operationId }) => operationId);
    expect(ids.sort()).toEqual(Object.keys(FLEET_EXAMPLES).sort());
    for (const { body } of Object.values(FLEET_EXAMPLES.createTransfer ?? {})) {
      expect(fleetTransferRequestSchema.safeParse(body).success).toBe(true);
    }
  });

  test('exemplifies each answer that is JSON', async () => {
    expect(answersWithoutExample((await ask('GET', '/openapi.json')).json())).toEqual([]);
  });

  test.each([
    ['/transfers', FLEET_EXAMPLES.createTransfer?.dryRun],
    ['/transfers/batch', FLEET_EXAMPLES.createTransfers?.dryRun],
  ])('the example of a dry run is true: %s', async (url, given) => {
    const answer = await ask('POST', url, given?.body as object);
    expect(answer.statusCode).toBe(given?.status);
    const [plan, example] = [answer.json(), given?.response as { transfers?: object[] }].map(
      (each) => each.transfers?.[0] ?? each,
    );
    // Why depends on the machine.
    expect({ ...plan, engine_reason: '' }).toEqual({ ...example, engine_reason: '' });
  });

  test.each([
    ['/', 200],
    ['/livez', 200],
    ['/readyz', 200],
    ['/version', 200],
    ['/docs/', 200],
    ['/problems/unknown_host', 200],
  ])('%s needs no token', async (url, status) => {
    const { statusCode } = await fleet.http.inject({ url, headers: { host: 'localhost' } });
    expect(statusCode).toBe(status);
  });

  test('a browser gets the dashboard, which may load nothing from elsewhere', async () => {
    const accept = { accept: 'text/html', host: 'localhost' };
    const page = await fleet.http.inject({ url: '/', headers: accept });
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    const policy = page.headers['content-security-policy'];
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /);
    const [, script = ''] = /<script[^>]* src="\.(\/assets\/[^"]+)"/.exec(page.body) ?? [];
    const asset = await fleet.http.inject({ url: script, headers: { host: 'localhost' } });
    expect([asset.statusCode, asset.headers['content-security-policy']]).toEqual([200, policy]);
    expect(asset.headers['cache-control']).toContain('immutable');
    const { body } = await fleet.http.inject({ url: '/', headers: { host: 'localhost' } });
    expect(JSON.parse(body)).toMatchObject({ name: 'dmad fleet', docs: '/docs' });
  });

  test.each(['/hosts', '/devices', '/transfers', '/events', '/metrics', '/whoami'])(
    '%s needs a token',
    async (url) => {
      const { statusCode } = await fleet.http.inject({ url, headers: { host: 'localhost' } });
      expect(statusCode).toBe(401);
    },
  );

  test('a token for one host knows of no other', async () => {
    expect((await post({ ...copy, host: 'hosta' }, 'onhosta')).statusCode).toBe(201);
    const other = await post({ ...copy, host: 'hostb' }, 'onhosta');
    expect([other.statusCode, other.json().code]).toEqual([422, 'unknown_host']);
    const { hosts } = (await ask('GET', '/hosts', undefined, { as: 'onhosta' })).json();
    expect(hosts.map(({ name }: { name: string }) => name)).toEqual(['hosta']);
    const { devices } = (await ask('GET', '/devices', undefined, { as: 'onhosta' })).json();
    expect(new Set(devices.map(({ host }: { host: string }) => host))).toEqual(new Set(['hosta']));
    const as = { as: 'onhostb' };
    expect((await ask('GET', '/hosts/hosta', undefined, as)).statusCode).toBe(404);
    expect((await ask('DELETE', '/hosts/hosta', undefined, as)).statusCode).toBe(404);
    const url = { url: 'http://127.0.0.1:1' };
    expect((await ask('PUT', '/hosts/hosta', url, as)).statusCode).toBe(403);
    // It sees everybody's transfers on its hosts.
    const { transfers } = (await ask('GET', '/transfers', undefined, as)).json();
    expect(transfers).toEqual([]);
  });

  test('a token for ranges is refused one byte outside, before the host is asked', async () => {
    expect((await post({ ...copy, size: 8192 }, 'ranges')).statusCode).toBe(201);
    for (const wrong of [
      { size: 8193 },
      { dst_offset: HALF + 4097 },
      { dst_offset: HALF - 1 },
      { dst_device_name: 'dax1.0' },
      { dry_run: true, size: 8193 },
    ]) {
      const answer = await post({ ...copy, ...wrong }, 'ranges');
      expect([answer.statusCode, answer.json().code]).toEqual([403, 'forbidden']);
    }
    const { hosts } = (await ask('GET', '/hosts', undefined, { as: 'ranges' })).json();
    expect(hosts[0].devices).toEqual(['dax0.0']);
  });

  test('a host that is none is unknown, whatever the client may do there', async () => {
    const answer = await post({ ...copy, host: 'nowhere', size: 8193 }, 'ranges');
    expect([answer.statusCode, answer.json().code]).toEqual([422, 'unknown_host']);
  });

  test('who adds and removes hosts needs the scope for it', async () => {
    const url = { url: 'http://127.0.0.1:1' };
    for (const method of ['PUT', 'DELETE'] as const) {
      const answer = await ask(method, '/hosts/hostc', method === 'PUT' ? url : undefined, {
        as: 'onhosta',
      });
      expect([answer.statusCode, answer.json().code]).toEqual([403, 'forbidden']);
    }
  });

  test.each([
    { url: 'ftp://hostc' },
    { url: 'http://user:secret@hostc' },
    { url: 'http://hostc', ca: 'no PEM' },
    { url: 'http://hostc', token: 'x' },
    {},
  ])('a host cannot be %j', async (body) => {
    expect((await ask('PUT', '/hosts/hostc', body)).statusCode).toBe(400);
  });

  test("a host's URL has at most 2048 characters", async () => {
    const url = `http://hostc/${'x'.repeat(2036)}`;
    const answer = await ask('PUT', '/hosts/hostc', { url });
    expect([answer.statusCode, answer.json().errors]).toEqual([
      ...[400, [{ pointer: '/url', detail: 'must have at most 2048 characters' }]],
    ]);
  });

  test.each([0, 64, 100, 101, 10_000])(
    'a host cannot have a name of %d characters',
    async (length) => {
      const url = { url: 'http://127.0.0.1:1' };
      for (const [method, body] of [['PUT', url], ['GET'], ['DELETE']] as const) {
        const answer = await ask(method, `/hosts/${'x'.repeat(length)}`, body);
        expect([answer.statusCode, answer.json().code]).toEqual([400, 'invalid_request']);
      }
    },
  );

  test('a client sees its own transfers only', async () => {
    const { id } = (await post(copy, 'onhosta')).json();
    const others = { as: 'ranges' };
    expect((await ask('GET', `/transfers/${id}`, undefined, others)).statusCode).toBe(404);
    expect((await ask('POST', `/transfers/${id}/cancel`, undefined, others)).statusCode).toBe(404);
    const list = (await ask('GET', '/transfers', undefined, others)).json().transfers;
    expect(list.map((each: { id: string }) => each.id)).not.toContain(id);
    expect((await ask('GET', `/transfers/${id}`)).json()).toMatchObject({ id, client: 'onhosta' });
  });

  test('a client has as many transfers under way as its token allows', async () => {
    const blocker = await daemon.block('dax0.0');
    const asynchronous = { prefer: 'respond-async' };
    const keyed = { ...asynchronous, 'idempotency-key': 'the only one' };
    const first = await post(copy, 'few', keyed);
    expect(first.statusCode).toBe(202);
    const more = await Promise.all([1, 2, 3].map(() => post(copy, 'few', asynchronous)));
    expect(more.map(({ statusCode }) => statusCode)).toEqual([429, 429, 429]);
    const repeated = await post(copy, 'few', keyed);
    expect([repeated.statusCode, repeated.json().id]).toEqual([202, first.json().id]);
    const other = await post({ ...copy, size: 64 }, 'few', keyed);
    expect(other.json().code).toBe('idempotency_key_reused');
    await blocker.release();
    await until(async () => {
      const url = `/transfers/${first.json().id}`;
      return (await ask('GET', url, undefined, { as: 'few' })).json().status === 'succeeded';
    });
    await until(async () => (await post(copy, 'few')).statusCode === 201);
  });

  describe('content', () => {
    const content = '/hosts/hosta/devices/dax0.0/content';
    const OCTETS = 'application/octet-stream';
    const put = (offset: number, bytes: Buffer, headers: Record<string, string> = {}) =>
      fleet.http.inject({
        ...{ method: 'PUT', url: `${content}?offset=${offset}`, payload: bytes },
        headers: { ...bearer('admin'), host: 'localhost', 'content-type': OCTETS, ...headers },
      });

    test('goes through, both ways, with checksums and digests', async () => {
      const bytes = randomBytes(8192);
      const written = await put(4096, bytes);
      expect([written.statusCode, written.json().bytes_written]).toEqual([200, 8192]);
      const range = { range: 'bytes=4096-12287' };
      const read = await ask('GET', content, undefined, range);
      expect(read.statusCode).toBe(206);
      expect(read.headers['content-range']).toBe(`bytes 4096-12287/${2 ** 20}`);
      expect(read.rawPayload.equals(bytes)).toBe(true);
      // A client that resumes bytes which may have changed: it must not take a part for the rest.
      const resumed = await ask('GET', content, undefined, { ...range, 'if-range': '"x"' });
      expect([resumed.statusCode, resumed.rawPayload.length]).toEqual([200, 2 ** 20]);
      const head = await ask('HEAD', content);
      expect([head.statusCode, head.headers['content-length']]).toEqual([200, String(2 ** 20)]);
      const whole = await ask('GET', content);
      expect(whole.rawPayload.subarray(4096, 12288).equals(bytes)).toBe(true);
      const at = 'offset=4096&size=8192';
      const checksum = await ask('GET', `/hosts/hosta/devices/dax0.0/checksum?${at}`);
      expect(checksum.json()).toEqual({ crc32c: written.json().crc32c });
      const digests = `/hosts/hosta/devices/dax0.0/digests?${at}&block_size=8KiB`;
      const sha256 = createHash('sha256').update(bytes).digest();
      expect((await ask('GET', digests)).json().digests).toEqual([sha256.toString('hex')]);
      const raw = await ask('GET', digests, undefined, { accept: OCTETS });
      expect(raw.rawPayload.equals(sha256)).toBe(true);
    });

    test('what the host refuses is refused', async () => {
      const tooMuch = await put(2 ** 20 - 1, Buffer.alloc(2));
      expect([tooMuch.statusCode, tooMuch.json()]).toMatchObject([413, { bytes_written: 0 }]);
      const outside = await ask('GET', content, undefined, { range: `bytes=${2 ** 20}-` });
      expect([outside.statusCode, outside.headers['content-range']]).toEqual([
        416,
        `bytes */${2 ** 20}`,
      ]);
      const wrong = { 'content-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
      expect((await put(0, Buffer.alloc(1), wrong)).json().code).toBe('digest_mismatch');
      for (const url of [
        '/hosts/hosta/devices/dax9.9/content',
        '/hosts/nowhere/devices/dax0.0/content',
      ]) {
        expect((await ask('GET', url)).statusCode).toBe(404);
      }
    });

    test('a token for ranges is refused one byte outside, by every route', async () => {
      const readable = HALF + 8192;
      const as = { as: 'ranges' };
      const device = '/hosts/hosta/devices/dax0.0';
      for (const size of [readable, readable + 1]) {
        const range = { ...as, range: `bytes=0-${size - 1}` };
        const answers = await Promise.all([
          ask('GET', content, undefined, range),
          ask('GET', `${device}/checksum?offset=0&size=${size}`, undefined, as),
          ask('GET', `${device}/digests?offset=0&size=${size}`, undefined, as),
        ]);
        const wanted = size === readable ? [206, 200, 200] : [403, 403, 403];
        expect(answers.map(({ statusCode }) => statusCode)).toEqual(wanted);
      }
      expect((await ask('GET', content, undefined, as)).statusCode).toBe(403);
      const writing = bearer('ranges');
      expect((await put(HALF, Buffer.alloc(8192), writing)).statusCode).toBe(200);
      expect((await put(HALF, Buffer.alloc(8193), writing)).statusCode).toBe(403);
      expect((await put(HALF - 1, Buffer.alloc(1), writing)).statusCode).toBe(403);
      for (const route of ['', '/content', '/checksum', '/digests']) {
        const other = await ask('GET', `/hosts/hosta/devices/dax1.0${route}`, undefined, as);
        expect(other.statusCode).toBe(403);
        const host = await ask('GET', `/hosts/hosta/devices/dax0.0${route}`, undefined, {
          as: 'onhostb',
        });
        expect(host.statusCode).toBe(404);
      }
    });

    test('a device may be named by its path', async () => {
      const device = '/hosts/hosta/devices/%2Fdev%2Fdax0.0';
      expect((await ask('GET', device)).json().name).toBe('dax0.0');
      const first = { range: 'bytes=0-0' };
      expect((await ask('GET', `${device}/content`, undefined, first)).statusCode).toBe(206);
      expect((await ask('GET', `${device}/checksum?size=1`)).statusCode).toBe(200);
      expect((await ask('GET', `${device}/digests?size=1`)).statusCode).toBe(200);
    });

    let listening: Promise<string> | undefined;
    /** @returns the gateway's port */
    async function listen(): Promise<number> {
      listening ??= fleet.http.listen({ port: 0, host: '127.0.0.1' });
      await listening;
      return (fleet.http.server.address() as AddressInfo).port;
    }

    test.each([
      ['cut short', { 'content-length': String(2 ** 20) }, Buffer.alloc(2 ** 19, 5)],
      [
        'in chunks that cannot be read',
        { 'transfer-encoding': 'chunked' },
        Buffer.concat([Buffer.from('80000\r\n'), Buffer.alloc(2 ** 19, 5), Buffer.from('\r\nx')]),
      ],
    ])(
      "an upload that is %s is its client's fault, not the host's",
      async (_what, fields, bytes) => {
        const headers = { ...bearer('admin'), ...fields };
        const wire = new Wire(await listen());
        wire.send(wireRequest(`PUT ${content}`, headers)).socket.end(bytes);
        expectProblem(await wire.answer(), 400, 'invalid_request');
        await wire.closed;
      },
    );

    test('an upload that its client breaks off is broken off on the host', async () => {
      const port = await listen();
      const upload = request({
        ...{ port, host: '127.0.0.1', method: 'PUT', path: content },
        headers: { ...bearer('admin'), 'content-length': 2 ** 20 },
      });
      upload.on('error', () => {});
      upload.write(Buffer.alloc(2 ** 19, 7));
      await until(async () => {
        const { body } = await daemonAnswer('/devices/dax0.0/content', { range: 'bytes=0-0' });
        return body[0] === 7;
      });
      upload.destroy();
      // It holds its range until it ends.
      await until(async () => {
        const after = { ...copy, src_offset: HALF + 4096, dst_offset: HALF };
        return (await post(after, 'admin')).statusCode === 201;
      });
    });

    async function daemonAnswer(url: string, headers: Record<string, string>) {
      const answer = await daemon.inject({ url, headers });
      return { body: answer.rawPayload };
    }
  });

  test('filters, pages and the basic view', async () => {
    const labels = { job: 'this one' };
    const { id } = (await post({ ...copy, labels }, 'admin')).json();
    const find = async (query: string) => (await ask('GET', `/transfers?${query}`)).json();
    expect((await find('label=job:this%20one')).transfers).toMatchObject([{ id, labels }]);
    expect((await find('label=job:this%20one&host=hostb')).transfers).toEqual([]);
    expect((await find('label=job:this%20one&status=failed,accepted')).transfers).toEqual([]);
    const [basic] = (await find('label=job:this%20one&view=basic')).transfers;
    expect(basic).not.toHaveProperty('timings');
    for (const wrong of ['status=x', 'page_size=0', 'host=-', 'unknown=1', 'page_token=AAAA']) {
      expect((await ask('GET', `/transfers?${wrong}`)).statusCode).toBe(400);
    }
    await post(copy, 'admin');
    const { next_page_token: token } = await find('page_size=1');
    const next = `/transfers?page_size=1&page_token=${token}`;
    expect((await ask('GET', next)).statusCode).toBe(200);
    expect((await ask('GET', `${next}&host=hosta`)).statusCode).toBe(400);
    expect((await ask('GET', '/transfers?page_token=')).statusCode).toBe(200);
  });

  test('segments of more bytes than a JSON integer counts are refused before they are accepted', async () => {
    const { src_offset, dst_offset, size, ...rest } = copy;
    const segments = [0, 1].map(() => ({ src_offset, dst_offset, size: 2 ** 53 - 1 }));
    const { transfers: before } = (await ask('GET', '/transfers')).json();
    const answer = await post({ ...rest, segments }, 'admin');
    expect([answer.statusCode, answer.json().code]).toEqual([422, 'out_of_range']);
    expect((await ask('GET', '/transfers')).json().transfers).toEqual(before);
  });

  test.each(['device_name', 'dst_device_name'])(
    'a %s that no host can have is refused before it is accepted: its end would not fit into etcd',
    async (field) => {
      const { transfers: before } = (await ask('GET', '/transfers')).json();
      const answer = await post({ ...copy, [field]: 'x'.repeat(800_000) }, 'admin');
      expect([answer.statusCode, answer.json().code]).toEqual([422, 'unknown_device']);
      expect(answer.json().errors).toMatchObject([{ pointer: `/${field}` }]);
      expect((await ask('GET', '/transfers')).json().transfers).toEqual(before);
    },
  );

  describe('a device name that has a slash is looked for on the host that is named', () => {
    test.each([
      ['device_name', { device_name: 'dev/dax0.0' }],
      ['device_name', { device_name: 'hosta/dax0.0', dst_device_name: 'hosta/dax1.0' }],
      ['dst_device_name', { dst_device_name: 'hosta/dax1.0' }],
    ])('%s of %j', async (field, names) => {
      for (const dry_run of [false, true]) {
        const answer = await post({ ...copy, ...names, dry_run }, 'admin');
        expect([answer.statusCode, answer.json().code]).toEqual([422, 'unknown_device']);
        expect(answer.json().errors).toMatchObject([{ pointer: `/${field}` }]);
      }
      const answer = await post({ ...copy, device_name: '/dev/dax0.0' }, 'admin');
      expect(answer.statusCode).toBe(201);
    });
  });

  test('keeps nothing in memory of what has ended', async () => {
    const live = new LiveTransfers('hosta', new Strangers());
    live.add('a', 'host-a');
    live.reported({ id: 'host-a' } as Parameters<typeof live.reported>[0]);
    live.forget('a');
    expect([live.size, live.get('a')]).toEqual([0, undefined]);
    const { id } = (await post(copy, 'admin')).json();
    const { body } = await ask('GET', '/metrics');
    expect(body).toMatch(/^dmad_fleet_transfers_in_flight 0$/m);
    expect((await ask('GET', `/transfers/${id}`)).json().status).toBe('succeeded');
  });

  test('counts what has ended by operation and status', async () => {
    const count = async (operation: string, status: string) => {
      const { body } = await ask('GET', '/metrics');
      const labels = `operation="${operation}",status="${status}"`;
      const line = new RegExp(`^dmad_fleet_transfers_total\\{${labels}\\} (\\d+)$`, 'm').exec(body);
      return line === null ? undefined : Number(line[1]);
    };
    expect(await count('compare', 'interrupted')).toBe(0);
    const before = await count('copy', 'succeeded');
    await post(copy, 'admin');
    expect(await count('copy', 'succeeded')).toBe((before ?? 0) + 1);
  });

  test('an etcd without space refuses as one that is away', async () => {
    for (const [fate, detail] of [
      ['full', /no space left/],
      ['not_done', /cannot be reached/],
    ] as const) {
      etcd.fate = () => fate;
      const answer = await post(copy, 'admin');
      etcd.fate = () => 'done';
      const { code, detail: said } = answer.json();
      expect([answer.statusCode, code]).toEqual([503, 'etcd_unavailable']);
      expect(said).toMatch(detail);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    }
    await until(async () => (await ask('GET', '/readyz')).statusCode === 200);
  });
});

test('--help has every setting, and a start without etcd says what to do', () => {
  for (const name of Object.keys(SETTINGS)) {
    expect(helpText()).toContain(`  ${PREFIX}${name.toUpperCase()} (default: `);
  }
  expect(() => readFleetConfig({})).toThrow(/DMAD_FLEET_ETCD is not set/);
  for (const [variable, value] of [
    ['ETCD', 'ftp://x'],
    ['ETCD', 'http://a:1,https://b:1'],
    ['ETCD_CERT', '/x'],
    ['ETCD_USER', 'x'],
    ['ETCD_PREFIX', 'x'],
    ['ETCD_CA', '/nonexistent'],
    ['TLS_KEY', '/x'],
  ] as const) {
    const environment = { DMAD_FLEET_ETCD: 'http://etcd:2379', [`${PREFIX}${variable}`]: value };
    expect(() => readFleetConfig(environment)).toThrow(new RegExp(`${PREFIX}${variable}`));
  }
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not in time: ${holds}`);
}

test("README's table is that of the settings", () => {
  const readme = readFileSync('README.md', 'utf8');
  expect(readme).toContain(settingsTable(SETTINGS, PREFIX));
});
