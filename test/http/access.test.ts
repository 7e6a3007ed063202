// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Fastify, { type InjectOptions } from 'fastify';
import type { OpenAPIV3_1 } from 'openapi-types';
import { EXAMPLES } from '../../services/daemon/openapi/examples.ts';
import audit from '../../services/http/access/audit.ts';
import access from '../../services/http/access/plugin.ts';
import { SCOPES, type Scope } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, secretOf, writeTokens } from '../support/tokens.ts';
import { exchange } from '../support/wire.ts';

type Method = 'GET' | 'PATCH' | 'POST' | 'PUT';
interface Operation {
  name: string;
  method: Method;
  path: string;
  /** One of these scopes; empty: any client; undefined: anybody. */
  security: readonly Scope[] | undefined;
}

/** The HTTP contract's list; a route that joins it is a decision, not a slip. */
const PUBLIC = [
  ...['GET /', 'GET /livez', 'GET /openapi.json', 'GET /problems/{code}', 'GET /readyz'],
  'GET /version',
];

/** Each operation of the document that the daemon gives out. */
function operationsOf(app: TestApp): Operation[] {
  const { paths = {} } = app.http.swagger() as OpenAPIV3_1.Document;
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item ?? {}).map(([method, value]) => {
      const { security, operationId = '' } = value as OpenAPIV3_1.OperationObject;
      if (security === undefined) throw new Error(`${operationId} says nothing of security`);
      return {
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase() as Method,
        path,
        security:
          security.length === 0
            ? undefined
            : security.flatMap(({ token = [] }) => token as Scope[]),
      };
    }),
  );
}

/** The documented request, on devices and transfers that there are. */
function requestOf({ method, path }: Operation, id = 'none'): InjectOptions {
  const url = path.replace('{name}', 'dax0.0').replace('{id}', id).replace('{code}', 'forbidden');
  if (method === 'PUT') {
    return {
      ...{ method, url, payload: Buffer.from('123456789') },
      headers: { 'content-type': 'application/octet-stream' },
    };
  }
  if (path === '/transfers' && method === 'POST') return copy(0, 4096, 16);
  if (path === '/transfers/batch') return batch(copy(0, 4096, 16));
  if (path === '/engines/calibrate') return calibration(0);
  if (path === '/replications' && method === 'POST') return replication(0, 4096);
  if (method === 'PATCH') {
    const headers = { 'content-type': 'application/merge-patch+json' };
    return { method, url, payload: '{"priority":"low"}', headers };
  }
  return { method, url };
}

function copy(src_offset: number, dst_offset: number, size: number, dst = 'dax0.0'): InjectOptions {
  const payload = { device_name: 'dax0.0', dst_device_name: dst, src_offset, dst_offset, size };
  return { method: 'POST', url: '/transfers', payload };
}

function batch(...transfers: InjectOptions[]): InjectOptions {
  const payload = { transfers: transfers.map((transfer) => transfer.payload) };
  return { method: 'POST', url: '/transfers/batch', payload };
}

/** From a peer that is not configured: clients that may use it get that error. */
function replication(dst_offset: number, size: number): InjectOptions {
  const payload = { peer: 'nobody', src_device_name: 'dax7.0', src_offset: 0, size };
  const destination = { dst_device_name: 'dax0.0', dst_offset };
  return { method: 'POST', url: '/replications', payload: { ...payload, ...destination } };
}

function calibration(offset: number): InjectOptions {
  const payload = { device_name: 'dax0.0', offset, size: '8MiB' };
  return { method: 'POST', url: '/engines/calibrate', payload };
}

const as = (name: string, request: InjectOptions): InjectOptions => ({
  ...request,
  headers: { ...request.headers, ...bearer(name) },
});

/** For each scope one token that has all others, and one that has it alone. */
const without = (scope: Scope) => `without-${scope.replace(':', '-')}`;
const only = (scope: Scope) => `only-${scope.replace(':', '-')}`;

/** Ranged: reads [8192, 16384) of dax0.0 and dax1.0, writes [8192, 12288) of dax0.0 alone. */
const RANGED = [
  { name: 'dax0.0', ranges: [{ offset: 8192, size: 4096 }], access: 'rw' },
  { name: 'dax0.0', ranges: [{ offset: 12_288, size: 4096 }], access: 'ro' },
  { name: 'dax1.0', ranges: [{ offset: 8192, size: 8192 }], access: 'ro' },
];

let directory: string;
let app: TestApp;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'everything' },
    { name: 'anna' },
    { name: 'bert' },
    { name: 'ranged', devices: RANGED },
    { name: 'nowhere', devices: [] },
    { name: 'elsewhere', devices: [{ name: 'dax9.9', access: 'rw' }] },
    {
      name: 'another',
      devices: [
        { name: 'dax0.0', uuid: '9fb5dd70-c631-4a13-becb-7fd18b56ae49', access: 'rw' },
        { name: 'dax1.0', resource: '0x101200000', access: 'rw' },
      ],
    },
    ...SCOPES.flatMap((scope) => [
      { name: without(scope), scopes: SCOPES.filter((each) => each !== scope) },
      { name: only(scope), scopes: [scope] },
    ]),
  ];
  app = await startTestApp({
    environment: {
      DMAD_TOKENS_FILE: writeTokens(directory, tokens),
      DMAD_DEVICES: 'emulated:dax0.0=8MiB,emulated:dax1.0=8MiB',
    },
  });
});
afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

/** An answer, or for a stream that does not end its first bytes. */
async function send(request: InjectOptions) {
  const abort = new AbortController();
  const endless = request.url === '/events';
  if (!endless) return app.ask(request);
  const port = await app.listen();
  const response = await fetch(`http://127.0.0.1:${port}${request.url}`, {
    headers: request.headers as Record<string, string>,
    signal: abort.signal,
  });
  const body =
    response.status === 200 ? Buffer.alloc(0) : Buffer.from(await response.arrayBuffer());
  abort.abort();
  return { status: response.status, headers: Object.fromEntries(response.headers), body };
}

describe('every operation of the document', () => {
  // Its names are needed before the daemon is there; the first test holds them against it.
  const NAMES = Object.keys(EXAMPLES);

  function operation(operationId: string): Operation {
    const { paths = {} } = app.http.swagger() as OpenAPIV3_1.Document;
    const found = operationsOf(app).find(({ name }) => {
      const [method = '', path = ''] = name.split(' ');
      const item = paths[path] as Record<string, OpenAPIV3_1.OperationObject>;
      return item[method.toLowerCase()]?.operationId === operationId;
    });
    if (found === undefined) throw new Error(`no operation ${operationId}`);
    return found;
  }

  test('is tested here, and public only where the contract has it', () => {
    const operations = operationsOf(app);
    expect(operations).toHaveLength(NAMES.length);
    const open = operations.filter(({ security }) => security === undefined);
    expect(open.map(({ name }) => name).sort()).toEqual(PUBLIC);
  });

  test.each(NAMES)('%s without a token', async (id) => {
    const { security, ...rest } = operation(id);
    const answer = await send(requestOf({ security, ...rest }));
    if (security === undefined) expect([200, 503]).toContain(answer.status);
    else {
      expectProblem(answer, 401, 'unauthenticated');
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="dmad"');
    }
  });

  test.each(NAMES)('%s with a wrong token', async (id) => {
    const found = operation(id);
    const right = secretOf('everything');
    for (const authorization of [
      `Bearer ${secretOf('nobody')}`,
      `Bearer ${right}x`,
      `Bearer ${right.slice(0, -1)}`,
      `Bearer ${right.toUpperCase()}`,
      `Bearer ${right} ${right}`,
      `Basic ${Buffer.from(`everything:${right}`).toString('base64')}`,
      `Bearer`,
      right,
    ]) {
      const answer = await send({ ...requestOf(found), headers: { authorization } });
      if (found.security === undefined) expect([200, 503]).toContain(answer.status);
      else {
        expectProblem(answer, 401, 'unauthenticated');
        expect(answer.headers['www-authenticate']).toMatch(
          /^Bearer realm="dmad", error="invalid_token"/,
        );
      }
    }
  });

  test.each(NAMES)('%s lacking its scope, and with nothing else', async (id) => {
    const found = operation(id);
    const { security } = found;
    const asked = security ?? [];
    for (const scope of SCOPES) {
      const rest = await send(as(without(scope), requestOf(found)));
      const alone = await send(as(only(scope), requestOf(found)));
      for (const [answer, forbidden] of [
        [rest, asked.length === 1 && asked.includes(scope)],
        [alone, asked.length > 0 && !asked.includes(scope)],
      ] as const) {
        if (!forbidden) expect([200, 201, 202, 404, 422, 503]).toContain(answer.status);
        else {
          const { detail } = expectProblem(answer, 403, 'forbidden');
          expect(detail).toContain(asked[0]);
          expect(answer.headers['www-authenticate']).toBe(
            `Bearer realm="dmad", error="insufficient_scope", scope="${asked[0]}"`,
          );
        }
      }
    }
  });

  test.each(NAMES)('%s with a condition that does not hold', async (id) => {
    const found = operation(id);
    if (found.method === 'GET') return;
    const conditional = (request: InjectOptions) =>
      app.ask(as('everything', { ...request, headers: { ...request.headers, 'if-match': '"x"' } }));
    // What there is not has no condition either (RFC 9110, 13.2.1).
    const missing = await conditional(
      requestOf({ ...found, path: found.path.replace('{name}', 'dax7.7') }),
    );
    const named = found.path.includes('{');
    if (named) expectProblem(missing, 404, 'not_found');
    if (found.path.startsWith('/replications/')) return;
    const made = await app.ask(as('everything', copy(0, 4096, 16)));
    const answer = await conditional(requestOf(found, JSON.parse(made.body.toString()).id));
    expectProblem(answer, 412, 'precondition_failed');
  });

  test.each(NAMES)('%s on a device that the token has nothing of', async (id) => {
    const found = operation(id);
    const named = [
      ...['createTransfer', 'createTransfers', 'calibrate', 'createReplication'],
    ].includes(id);
    const touches = found.path.includes('{name}') || named;
    if (!touches) return;
    for (const name of ['nowhere', 'elsewhere', 'another']) {
      const there = await send(as(name, requestOf(found)));
      const forbidden = expectProblem(there, 403, 'forbidden');
      // The same answer where there is no such device.
      const request = requestOf({ ...found, path: found.path.replace('{name}', 'dax7.7') });
      if (named) {
        request.payload = JSON.parse(JSON.stringify(request.payload).replace(/dax0\.0/, 'dax7.7'));
      }
      const missing = expectProblem(await send(as(name, request)), 403, 'forbidden');
      expect(missing.detail).toBe(forbidden.detail);
    }
  });
});

describe('the byte before and the byte behind', () => {
  const allowed: [string, InjectOptions][] = [
    ['copy inside', copy(8192, 10_240, 2048)],
    ['copy from what may only be read', copy(12_288, 8192, 4096)],
    ['copy from what two ranges hold', copy(11_000, 8192, 2000)],
    ['checksum', { url: '/devices/dax0.0/checksum?offset=8192&size=8192' }],
    ['read', { url: '/devices/dax1.0/content', headers: { range: 'bytes=8192-16383' } }],
    [
      'look',
      { method: 'HEAD', url: '/devices/dax1.0/content', headers: { range: 'bytes=8192-8192' } },
    ],
    ['write', write(8192, 4096)],
  ];
  const refused: [string, InjectOptions, string[]?][] = [
    ['copy from a byte before', copy(8191, 10_240, 2048), ['/src_offset']],
    ['copy from a byte behind', copy(16_384 - 4095, 8192, 4096), ['/src_offset']],
    ['copy to a byte before', copy(12_288, 8191, 4096), ['/dst_offset']],
    ['copy to a byte behind', copy(12_288, 8193, 4096), ['/dst_offset']],
    ['copy to what may only be read', copy(8192, 8192, 16, 'dax1.0'), ['/dst_offset']],
    ['copy to another device', copy(8192, 8192, 16, 'dax2.0'), ['/dst_offset']],
    [
      'copy of segments, the last one a byte behind',
      {
        ...{ method: 'POST', url: '/transfers' },
        payload: {
          device_name: 'dax0.0',
          segments: [
            { src_offset: 8192, dst_offset: 8200, size: 1 },
            { src_offset: 16_383, dst_offset: 8300, size: 2 },
          ],
        },
      },
      ['/segments/1/src_offset'],
    ],
    ['plan from a byte before', dryRun(copy(8191, 10_240, 1)), ['/src_offset']],
    [
      'batch whose second copy is a byte outside',
      batch(copy(8192, 10_240, 16), copy(8191, 10_240, 16)),
      ['/transfers/1/src_offset'],
    ],
    ['replication to a byte before', replication(8191, 4096), ['/dst_offset']],
    ['replication to a byte behind', replication(8193, 4096), ['/dst_offset']],
    ['copy that overflows', copy(2 ** 53 - 1, 8192, 2 ** 53 - 1), ['/src_offset']],
    ['checksum of a byte before', { url: '/devices/dax0.0/checksum?offset=8191&size=2' }],
    ['checksum of a byte behind', { url: '/devices/dax0.0/checksum?offset=16383&size=2' }],
    ['checksum of everything', { url: '/devices/dax0.0/checksum' }],
    [
      'read of a byte before',
      { url: '/devices/dax1.0/content', headers: { range: 'bytes=8191-8192' } },
    ],
    [
      'read of a byte behind',
      { url: '/devices/dax1.0/content', headers: { range: 'bytes=16383-16384' } },
    ],
    [
      'read from there to the end',
      { url: '/devices/dax1.0/content', headers: { range: 'bytes=8192-' } },
    ],
    ['read of the end', { url: '/devices/dax1.0/content', headers: { range: 'bytes=-1' } }],
    ['read of everything', { url: '/devices/dax1.0/content' }],
    ['look at everything', { method: 'HEAD', url: '/devices/dax1.0/content' }],
    ['write of a byte before', write(8191, 1)],
    ['write of a byte behind', write(12_287, 2)],
    ['write of what may only be read', write(12_288, 1)],
    ['write of nothing, where nothing may be written', write(8192, 0, 'dax1.0')],
    ['write past the end', write(2 ** 53 - 1, 1)],
    ['measuring where nothing may be written', calibration(0), ['/offset']],
  ];

  function write(offset: number, size: number, device = 'dax0.0'): InjectOptions {
    return {
      ...{ method: 'PUT', url: `/devices/${device}/content?offset=${offset}` },
      ...{ payload: Buffer.alloc(size) },
      headers: { 'content-type': 'application/octet-stream' },
    };
  }
  function dryRun(request: InjectOptions): InjectOptions {
    return { ...request, payload: { ...(request.payload as object), dry_run: true } };
  }

  test.each(allowed)('%s is allowed', async (_name, request) => {
    expect((await app.ask(as('ranged', request))).status).toBeLessThan(300);
  });

  // Three each, for jest takes a parameter too many for its own.
  const rows = refused.map(([name, request, pointers]) => [name, request, pointers] as const);
  test.each(rows)('%s is refused', async (_name, request, pointers) => {
    const answer = await app.ask(as('ranged', request));
    if (request.method === 'HEAD') expect(answer.status).toBe(403);
    else expectProblem(answer, 403, 'forbidden', pointers);
    const conditional = { ...request, headers: { ...request.headers, 'if-match': '"x"' } };
    expect((await app.ask(as('ranged', conditional))).status).toBe(403);
    // It is the token: with another one, nothing of this is forbidden.
    expect((await app.ask(as('everything', request))).status).not.toBe(403);
  });

  test('a body of unknown length needs the device to its end', async () => {
    const port = await app.listen();
    const upload = (token: string, offset: number) =>
      fetch(`http://127.0.0.1:${port}/devices/dax0.0/content?offset=${offset}`, {
        ...{ method: 'PUT', headers: bearer(token), duplex: 'half' },
        body: new Blob(['1']).stream(),
      } as RequestInit);
    expect((await upload('ranged', 8192)).status).toBe(403);
    expect((await upload('everything', 8192)).status).toBe(200);
  });

  test('nothing was written where it was refused', async () => {
    const before = await app.ask(as('everything', { url: '/devices/dax0.0/checksum' }));
    for (const [, request] of refused) await app.ask(as('ranged', request));
    const after = await app.ask(as('everything', { url: '/devices/dax0.0/checksum' }));
    expect(after.body).toEqual(before.body);
  });

  test('devices are listed as far as they may be touched', async () => {
    const names = async (token: string) => {
      const { body } = await app.ask(as(token, { url: '/devices' }));
      return JSON.parse(body.toString()).devices.map(({ name }: { name: string }) => name);
    };
    expect(await names('everything')).toEqual(['dax0.0', 'dax1.0']);
    expect(await names('ranged')).toEqual(['dax0.0', 'dax1.0']);
    expect(await names('nowhere')).toEqual([]);
    expect(await names('elsewhere')).toEqual([]);
    // Its devices are others that had these names.
    expect(await names('another')).toEqual([]);
  });
});

describe('what is wrong first', () => {
  test.each([
    ['a token before a route', { url: '/nothing' }],
    ['a token before a method', { method: 'DELETE' as const, url: '/transfers' }],
    ['a token before OPTIONS', { method: 'OPTIONS' as const, url: '/transfers' }],
    ['a token before HEAD', { method: 'HEAD' as const, url: '/transfers' }],
    ['a token before a body', { method: 'POST' as const, url: '/transfers', payload: '{' }],
    ['a token before a media type', { url: '/devices', headers: { accept: 'text/plain' } }],
  ])('%s', async (_name, request: InjectOptions) => {
    const answer = await app.ask(request);
    if (request.method === 'HEAD') expect(answer.status).toBe(401);
    else expectProblem(answer, 401, 'unauthenticated');
  });

  test('a scope before a body; a body before ranges; ranges before devices', async () => {
    const broken = { method: 'POST' as const, url: '/transfers', payload: { size: 0 } };
    expectProblem(await app.ask(as('only-transfers-read', broken)), 403, 'forbidden');
    expectProblem(await app.ask(as('nowhere', broken)), 400, 'invalid_request');
    const unknown = {
      ...copy(0, 1, 2),
      payload: { ...(copy(0, 1, 2).payload as object), device_name: 'dax7.7' },
    };
    expectProblem(await app.ask(as('nowhere', unknown)), 403, 'forbidden');
    expectProblem(await app.ask(as('everything', unknown)), 422, 'unknown_device');
    // A device that the token speaks of, but the daemon does not know.
    const granted = {
      ...copy(0, 1, 1),
      payload: {
        ...(copy(0, 1, 1).payload as object),
        device_name: 'dax9.9',
        dst_device_name: 'dax9.9',
      },
    };
    expectProblem(await app.ask(as('elsewhere', granted)), 422, 'unknown_device');
  });

  test('a foreign host before a token', async () => {
    const request = { url: '/devices', headers: { host: 'dmad.example.com' } };
    expectProblem(await app.ask(request), 421, 'misdirected_request');
    expectProblem(await app.ask(as('everything', request)), 421, 'misdirected_request');
  });

  test('with a token: 404 and 405 as ever', async () => {
    expectProblem(await app.ask(as('nowhere', { url: '/nothing' })), 404, 'not_found');
    const wrong = await app.ask(as('nowhere', { method: 'DELETE', url: '/transfers' }));
    expectProblem(wrong, 405, 'method_not_allowed');
  });

  test('the scheme in any case, and spaces; not two tokens', async () => {
    const secret = secretOf('everything');
    for (const authorization of [`bearer ${secret}`, `BEARER   ${secret}  `]) {
      expect((await app.ask({ url: '/devices', headers: { authorization } })).status).toBe(200);
    }
    const port = await app.listen();
    const two = `authorization: Bearer ${secret}\r\n`.repeat(2);
    const answer = await exchange(
      port,
      `GET /devices HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${two}\r\n`,
    );
    expectProblem(answer, 401, 'unauthenticated');
  });

  test('/docs and what it needs, for anybody', async () => {
    for (const url of ['/docs', '/docs/', '/docs/static/swagger-ui-bundle.js']) {
      expect((await app.http.inject({ url })).statusCode).toBeLessThan(400);
    }
  });
});

describe("another client's transfers", () => {
  const make = async (client: string, label: string, headers = {}) => {
    const request = copy(0, 4096, 16);
    const payload = { ...(request.payload as object), labels: { job: label } };
    const answer = await app.ask(as(client, { ...request, payload, headers }));
    return JSON.parse(answer.body.toString()).id as string;
  };

  test('are not there: by id, in lists, to cancel, to watch', async () => {
    const mine = await make('anna', 'x');
    const theirs = await make('bert', 'x');
    for (const request of [
      { url: `/transfers/${theirs}` },
      { url: `/transfers/${theirs}/events` },
      { method: 'POST' as const, url: `/transfers/${theirs}/cancel` },
    ]) {
      expectProblem(await app.ask(as('anna', request)), 404, 'not_found');
    }
    expect((await app.ask(as('anna', { url: `/transfers/${mine}` }))).status).toBe(200);
    for (const query of ['', '?label=job:x', '?status=succeeded', '?device_name=dax0.0']) {
      const { body } = await app.ask(as('anna', { url: `/transfers${query}` }));
      const ids = JSON.parse(body.toString()).transfers.map(({ id }: { id: string }) => id);
      expect(ids).toContain(mine);
      expect(ids).not.toContain(theirs);
    }
  });

  test("keys are each client's own", async () => {
    const key = { 'idempotency-key': 'the same' };
    const [first, second] = [await make('anna', 'a', key), await make('bert', 'b', key)];
    expect(first).not.toBe(second);
    expect(await make('anna', 'a', key)).toBe(first);
    expect(await make('bert', 'b', key)).toBe(second);
  });

  test('send no events', async () => {
    const port = await app.listen();
    const abort = new AbortController();
    const response = await fetch(`http://127.0.0.1:${port}/events`, {
      ...{ headers: bearer('anna'), signal: abort.signal },
    });
    const theirs = await make('bert', 'quiet');
    const mine = await make('anna', 'loud');
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes('succeeded')) break;
    }
    abort.abort();
    expect(text).toContain(mine);
    expect(text).not.toContain(theirs);
  });
});

test('a route that does not say what access it needs cannot be', async () => {
  const http = Fastify();
  await http.register(audit, { audit: () => {} });
  await http.register(access, { keyring: undefined, peerUid: () => 0 });
  http.get('/forgotten', async () => 'secrets');
  await expect(http.ready()).rejects.toThrow('/forgotten');
});
