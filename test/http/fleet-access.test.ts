// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import type { OpenAPIV3_1 } from 'openapi-types';
import { silentLog } from '../../services/base/log.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { FLEET_SCOPES } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

/** What the limited client may touch: this range of these devices of these hosts. */
const START = 4096;
const SIZE = 8192;
const MINE = { host: 'hosta', other: 'hostc', device: 'dax0.0', readOnly: 'dax1.0' };
const FOREIGN = { host: 'hostb', device: 'dax2.0' };
/** The scopes that reach every byte: a client may well have all of them. */
const SCOPES = FLEET_SCOPES;

const METHODS = ['get', 'head', 'put', 'post', 'patch', 'delete'] as const;
type Method = (typeof METHODS)[number];
type Schema = OpenAPIV3_1.SchemaObject;
type Json = Record<string, unknown>;

interface Operation {
  method: Method;
  path: string;
  spec: OpenAPIV3_1.OperationObject;
  /** By where it is and its name, such as `path host`. */
  parameters: Set<string>;
}

/** A request that names only what the client may touch, and others that are off by as little as can be. */
interface Case {
  inside: InjectOptions;
  outside: [what: string, request: InjectOptions][];
}

/** Parameters that say nothing of hosts, devices or bytes. */
const HARMLESS = [
  ...['path id', 'path code', 'query abandon', 'query durability', 'query block_size'],
  ...['query algorithm', 'query page_size', 'query page_token', 'query status', 'query view'],
  ...['query operation', 'query engine', 'query label', 'query created_after'],
  ...['query created_before', 'query interval_ms', 'header prefer', 'header idempotency-key'],
  ...['header last-event-id', 'header content-digest', 'header want-repr-digest'],
];
/** Filters of what the client sees anyway. */
const FILTERS = ['query host', 'query device_name'];
/** Fields of a body that say nothing of them either. */
const HARMLESS_FIELDS = [
  ...['operation', 'pattern', 'engine', 'durability', 'verify', 'timeout_ms', 'priority'],
  ...['labels', 'depends_on', 'dry_run', 'mode', 'block_size', 'bytes_per_second'],
  ...['idempotency_key', 'url', 'ca'],
];

describe('a token that is limited to hosts, devices and ranges', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
  const etcd = new FakeEtcd();
  /** What the hosts' daemon was asked about bytes. */
  const asked: string[] = [];
  let daemon: TestApp;
  let fleet: FleetApp;
  let document: OpenAPIV3_1.Document;

  beforeAll(async () => {
    daemon = await startTestApp({
      environment: {
        DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB,emulated:dax2.0=1MiB',
      },
    });
    const url = `http://127.0.0.1:${await daemon.listen()}`;
    daemon.http.server.prependListener('request', ({ method, url: path = '' }: IncomingMessage) => {
      if (/\/(?:content|checksum|digests)/.test(path)) asked.push(`${method} ${path}`);
    });
    const range = { offset: START, size: SIZE };
    const tokens = writeTokens(directory, [
      { name: 'admin', scopes: FLEET_SCOPES },
      {
        ...{ name: 'limited', scopes: SCOPES, hosts: [MINE.host, MINE.other] },
        devices: [
          { name: MINE.device, ranges: [range], access: 'rw' },
          { name: MINE.readOnly, ranges: [range], access: 'ro' },
        ],
      },
      ...SCOPES.map((scope) => ({
        name: `without-${scope.replace(':', '-')}`,
        scopes: SCOPES.filter((each) => each !== scope),
      })),
    ]);
    const config = readFleetConfig({
      DMAD_FLEET_ETCD: 'http://127.0.0.1:1',
      DMAD_FLEET_TOKENS_FILE: tokens,
    });
    fleet = await buildFleetApp({ config, log: silentLog(), store: etcd });
    fleet.start();
    await until(async () => (await ask({ url: '/readyz' }, 'admin')).statusCode === 200);
    const hosts = [MINE.host, MINE.other, FOREIGN.host];
    for (const name of hosts) {
      await ask({ method: 'PUT', url: `/hosts/${name}`, payload: { url } }, 'admin');
    }
    await until(async () => {
      const all = (await ask({ url: '/hosts' }, 'admin')).json().hosts;
      return all.length === 3 && all.every(({ state }: { state: string }) => state === 'ready');
    });
    document = (await ask({ url: '/openapi.json' }, 'admin')).json();
  });
  afterAll(async () => {
    await fleet?.shutDown();
    await daemon?.close();
    rmSync(directory, { recursive: true });
  });

  function ask(request: InjectOptions, as?: string): Promise<LightMyRequestResponse> {
    const headers = { host: 'localhost', ...(as && bearer(as)), ...request.headers };
    return fleet.http.inject({ ...request, headers });
  }

  /** How many transfers have been accepted. */
  function transfers(): number {
    return [...etcd.rows.keys()].filter((key) => /\/(?:transfers|ended)\//.test(key)).length;
  }

  function operations(): Operation[] {
    return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
      METHODS.flatMap((method) => {
        // HEAD is wherever GET is.
        const spec = item?.[method === 'head' ? 'get' : method];
        if (spec === undefined) return [];
        const listed = (spec.parameters ?? []) as OpenAPIV3_1.ParameterObject[];
        return [
          { method, path, spec, parameters: new Set(listed.map((p) => `${p.in} ${p.name}`)) },
        ];
      }),
    );
  }

  test('every operation of the document is refused one byte, device or host outside', async () => {
    let refused = 0;
    const tried = new Map<string, number>();
    for (const operation of operations()) {
      const name = `${operation.method} ${operation.path}`;
      for (const { inside, outside } of casesOf(operation)) {
        const allowed = await ask(inside, 'limited');
        expect([name, inside, refusalOf(allowed)]).toEqual([name, inside, undefined]);
        if (changes(inside)) {
          const { statusCode } = await ask(conditional(inside), 'limited');
          expect([name, inside, statusCode]).toEqual([name, inside, 412]);
        }
        for (const [what, request] of outside) {
          const before = { asked: asked.length, known: transfers() };
          const answer = await ask(request, 'limited');
          const at = [name, what, JSON.stringify(request.payload)?.slice(0, 300)];
          expect([...at, refusalOf(answer)]).toEqual([...at, expect.any(String)]);
          const withCondition = await ask(conditional(request), 'limited');
          expect([...at, refusalOf(withCondition)]).toEqual([...at, refusalOf(answer)]);
          expect([...at, asked.length, transfers()]).toEqual([
            ...[...at, before.asked, before.known],
          ]);
          tried.set(name, (tried.get(name) ?? 0) + 1);
          refused++;
        }
      }
    }
    // What names bytes has been tried, whatever it is called.
    for (const { method, path, parameters } of operations()) {
      const named = [...parameters].filter((each) => ![...FILTERS, ...HARMLESS].includes(each));
      if (named.length > 0)
        expect([method, path, tried.get(`${method} ${path}`)]).not.toContain(undefined);
    }
    expect(refused).toBeGreaterThan(60);
  }, 120_000);

  test('every operation on a transfer knows none that touches another host', async () => {
    const copy = { device_name: 'dax2.0', src_offset: 0, dst_offset: 8192, size: 64 };
    const make = async (more: Json) => {
      const request = { method: 'POST' as const, url: '/transfers', payload: { ...copy, ...more } };
      const answer = await ask({ ...request, headers: { prefer: 'respond-async' } }, 'admin');
      return answer.json().id as string;
    };
    const hidden = [
      await make({ host: FOREIGN.host }),
      await make({ host: FOREIGN.host, dst_host: MINE.host }),
      await make({ host: MINE.host, dst_host: FOREIGN.host }),
    ];
    const shown = await make({ host: MINE.host });
    let tried = 0;
    for (const { method, path, parameters, spec } of operations()) {
      if (!parameters.has('path id')) continue;
      const consumes = Object.keys(
        (spec.requestBody as OpenAPIV3_1.RequestBodyObject)?.content ?? {},
      );
      const request = (id: string): InjectOptions => ({
        ...{ method: method.toUpperCase() as 'GET', url: path.replace('{id}', id) },
        ...(consumes[0] && { payload: '{}', headers: { 'content-type': consumes[0] } }),
      });
      for (const id of hidden) {
        const { statusCode } = await ask(request(id), 'limited');
        expect([method, path, statusCode]).toEqual([method, path, 404]);
        const answer = await ask(conditional(request(id)), 'limited');
        expect([method, path, answer.statusCode]).toEqual([method, path, 404]);
      }
      if (changes(request(shown))) {
        const { statusCode } = await ask(conditional(request(shown)), 'limited');
        expect([method, path, statusCode]).toEqual([method, path, 412]);
      }
      expect((await ask(request(shown), 'limited')).statusCode).not.toBe(404);
      tried++;
    }
    expect(tried).toBeGreaterThanOrEqual(5);
  });

  test('nothing that an operation without parameters answers names what is not its own', async () => {
    await ask(
      {
        ...{ method: 'POST', url: '/transfers', headers: { prefer: 'respond-async' } },
        payload: {
          ...{
            host: FOREIGN.host,
            device_name: 'dax2.0',
            src_offset: 0,
            dst_offset: 8192,
            size: 1,
          },
        },
      },
      'admin',
    );
    for (const { method, path, spec } of operations()) {
      const produced = Object.keys(
        (spec.responses?.['200'] as OpenAPIV3_1.ResponseObject)?.content ?? {},
      );
      // Streams do not end: what they show is tried above, and in fleet.test.ts.
      if (method !== 'get' || path.includes('{') || produced.includes('text/event-stream'))
        continue;
      if (path === '/openapi.json') continue;
      const { body } = await ask({ url: path }, 'limited');
      expect([path, body.includes(FOREIGN.host)]).toEqual([path, false]);
      if (path !== '/transfers')
        expect([path, body.includes(FOREIGN.device)]).toEqual([path, false]);
    }
  });

  test('every operation needs a token, and one of its scopes', async () => {
    for (const { method, path, spec } of operations()) {
      const scopes = (spec.security ?? []).flatMap(({ token }) => token ?? []);
      const url = path.replace(
        /\{(\w+)\}/g,
        (_, name) => ({ host: 'hosta', name: 'dax0.0' })[name as 'host'] ?? 'x',
      );
      const request = { method: method.toUpperCase() as 'GET', url };
      const { statusCode } = await ask(request);
      expect([method, path, statusCode === 401]).toEqual([
        method,
        path,
        (spec.security ?? []).length > 0,
      ]);
      if (scopes.length !== 1) continue;
      const without = `without-${scopes[0]?.replace(':', '-')}`;
      const lacking = await ask(request, without);
      expect([method, path, without, lacking.statusCode]).toEqual([method, path, without, 403]);
    }
  });

  function changes({ method = 'GET' }: InjectOptions): boolean {
    return !['GET', 'HEAD'].includes(method);
  }

  /** The same with a condition that does not hold. */
  function conditional(request: InjectOptions): InjectOptions {
    return { ...request, headers: { ...request.headers, 'if-match': '"x"' } };
  }

  /** The code by which a request is refused for what it would touch. */
  function refusalOf({ statusCode, headers, body }: LightMyRequestResponse): string | undefined {
    // An answer to HEAD has no body.
    if (body === '') return [403, 404].includes(statusCode) ? String(statusCode) : undefined;
    if (!headers['content-type']?.toString().startsWith('application/problem+json'))
      return undefined;
    const { code } = JSON.parse(body);
    return ['forbidden', 'not_found', 'unknown_host'].includes(code) ? code : undefined;
  }

  function casesOf(operation: Operation): Case[] {
    const { method, path, parameters, spec } = operation;
    for (const parameter of parameters) {
      const known = ['path host', 'path name', 'query offset', 'query size', 'header range'];
      if ([...known, ...FILTERS, ...HARMLESS].includes(parameter)) continue;
      throw new Error(`say what ${parameter} of ${method} ${path} is`);
    }
    if (path.includes('{id}') || parameters.has('path code')) return [];
    const content = (spec.requestBody as OpenAPIV3_1.RequestBodyObject)?.content ?? {};
    const bodies =
      content['application/json'] === undefined
        ? []
        : bodiesOf(resolve(content['application/json'].schema));
    if (path.includes('{host}')) return [hostCase(operation, Object.keys(content))];
    return bodies.map(({ inside, outside }) => {
      const request = (payload: Json): InjectOptions => ({
        ...{ method: method.toUpperCase() as 'POST', url: path, payload },
        headers: { prefer: 'respond-async' },
      });
      return {
        inside: request(inside),
        outside: outside.map(([what, body]) => [what, request(body)] as [string, InjectOptions]),
      };
    });
  }

  /** Of a route with the host in its path, and perhaps a device and a range. */
  function hostCase({ method, path, parameters }: Operation, consumes: string[]): Case {
    interface Target {
      host: string;
      name: string;
      offset: number;
      size: number;
    }
    const streams = consumes.includes('application/octet-stream');
    const make = ({ host, name, offset, size }: Target): InjectOptions => {
      const url = path.replace('{host}', host).replace('{name}', name);
      const query = new URLSearchParams();
      if (parameters.has('query offset')) query.set('offset', String(offset));
      if (parameters.has('query size')) query.set('size', String(size));
      return {
        method: method.toUpperCase() as 'GET',
        url: `${url}?${query}`,
        headers: {
          ...(parameters.has('header range') && { range: `bytes=${offset}-${offset + size - 1}` }),
          ...(streams && { 'content-type': 'application/octet-stream' }),
        },
        ...(streams && { payload: Buffer.alloc(size) }),
        ...(consumes.includes('application/json') && { payload: { url: 'http://127.0.0.1:1' } }),
      };
    };
    const mine = { host: MINE.host, name: MINE.device, offset: START, size: SIZE };
    // Adding and removing hosts would change the fleet under the others.
    const changes = method === 'put' || method === 'delete' ? { host: 'hosta-2' } : {};
    const outside: [string, Target][] = [['another host', { ...mine, host: FOREIGN.host }]];
    if (parameters.has('path name')) {
      outside.push(['another device', { ...mine, name: FOREIGN.device }]);
      if (streams) outside.push(['what it may read only', { ...mine, name: MINE.readOnly }]);
    }
    if (parameters.has('query offset') || parameters.has('header range')) {
      outside.push(
        ['a byte before', { ...mine, offset: START - 1 }],
        ['a byte after', { ...mine, offset: START + 1 }],
        ['a byte more', { ...mine, size: SIZE + 1 }],
      );
    }
    const named = parameters.has('path name') ? mine : { ...mine, ...changes };
    const inside = named === mine ? make(mine) : { url: '/hosts/hosta' };
    return { inside, outside: outside.map(([what, target]) => [what, make(target)]) };
  }

  function resolve(schema: unknown): Schema {
    const reference = (schema as { $ref?: string } | undefined)?.$ref;
    if (reference === undefined) return schema as Schema;
    return resolve(document.components?.schemas?.[reference.split('/').at(-1) ?? '']);
  }

  /** Bodies that have hosts, devices and ranges, as their schema says. */
  function bodiesOf(schema: Schema): { inside: Json; outside: [string, Json][] }[] {
    const properties = schema.properties ?? {};
    const list = Object.entries(properties).find(
      ([, each]) =>
        (resolve(each) as { type?: string }).type === 'array' &&
        'items' in resolve(each) &&
        resolve((resolve(each) as { items: unknown }).items).properties?.device_name,
    );
    if (list !== undefined) {
      const [field, array] = list;
      return bodiesOf(resolve((resolve(array) as { items: unknown }).items)).map(
        ({ inside, outside }) => ({
          inside: { [field]: [inside, inside] },
          // The last of several.
          outside: outside.map(([what, each]) => [what, { [field]: [inside, each] }]),
        }),
      );
    }
    if (properties.device_name === undefined) return [];
    const known = [
      'host',
      'dst_host',
      'device_name',
      'dst_device_name',
      'src_offset',
      'dst_offset',
    ];
    for (const field of Object.keys(properties)) {
      if ([...known, 'size', 'segments', ...HARMLESS_FIELDS].includes(field)) continue;
      throw new Error(`say what ${field} of a body is`);
    }
    const { enum: kinds = [] } = resolve(properties.operation) as { enum?: string[] };
    expect(kinds.length).toBeGreaterThanOrEqual(3);
    const forms: { dst_host?: string; segmented: boolean }[] = [
      { segmented: false },
      { segmented: true },
    ];
    return kinds.flatMap((operation) => [
      ...forms.map((form) => transferBodies(operation, form)),
      ...(operation === 'copy'
        ? [transferBodies(operation, { segmented: false, dst_host: MINE.other })]
        : []),
    ]);
  }

  /** One way to ask for an operation, with each of its limits overstepped by one. */
  function transferBodies(
    operation: string,
    { segmented, dst_host }: { segmented: boolean; dst_host?: string },
  ) {
    const half = SIZE / 2;
    interface Ends {
      hosts: [string, string];
      devices: [string, string];
      src: number;
      dst: number;
      size: number;
    }
    const make = ({ hosts, devices, src, dst, size }: Ends): Json => {
      const piece = { ...(operation !== 'fill' && { src_offset: src }), dst_offset: dst, size };
      const first = { ...piece, size: 1 };
      return {
        ...{ operation, host: hosts[0], device_name: devices[0] },
        ...(operation !== 'fill' && { dst_device_name: devices[1] }),
        ...(dst_host !== undefined && { dst_host: hosts[1] }),
        ...(segmented ? { segments: [first, piece] } : piece),
      };
    };
    const mine: Ends = {
      ...{ hosts: [MINE.host, dst_host ?? MINE.host], devices: [MINE.device, MINE.device] },
      ...{ src: START, dst: START + half, size: half },
    };
    const outside: [string, Ends][] = [
      ['another host', { ...mine, hosts: [FOREIGN.host, mine.hosts[1]] }],
      ['another device', { ...mine, devices: [FOREIGN.device, MINE.device] }],
      ['a byte after', { ...mine, dst: mine.dst + 1 }],
      ['a byte more', { ...mine, size: half + 1 }],
      ['a byte before, where it is written', { ...mine, dst: START - 1, src: START + half }],
    ];
    if (operation !== 'fill') {
      outside.push(
        ['a byte before', { ...mine, src: START - 1 }],
        ['another destination', { ...mine, devices: [MINE.device, FOREIGN.device] }],
      );
    }
    if (operation === 'copy') {
      outside.push(['what it may read only', { ...mine, devices: [MINE.device, MINE.readOnly] }]);
    }
    if (operation === 'fill') {
      outside.push(['what it may read only', { ...mine, devices: [MINE.readOnly, MINE.readOnly] }]);
    }
    if (dst_host !== undefined) {
      outside.push(['another dst_host', { ...mine, hosts: [MINE.host, FOREIGN.host] }]);
    }
    return {
      inside: make(mine),
      outside: outside.map(([what, ends]) => [what, make(ends)] as [string, Json]),
    };
  }
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not in time: ${holds}`);
}
