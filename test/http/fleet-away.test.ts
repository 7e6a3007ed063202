// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { InjectOptions } from 'fastify';
import type { OpenAPIV3_1 } from 'openapi-types';
import { silentLog } from '../../services/base/log.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { EtcdError } from '../../services/fleet/etcd/store.ts';
import { FLEET_EXAMPLES } from '../../services/fleet/openapi/examples.ts';
import { type Blocker, startTestApp, type TestApp } from '../support/app.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;
const EVENTS = 'text/event-stream';
/** What needs no etcd, whatever its method: bytes go through to a host. */
const BYTES = 'writeContent';

interface Called {
  operationId: string;
  /** Whether it changes something of the fleet. */
  changes: boolean;
  request: InjectOptions;
}

describe('while etcd is away', () => {
  let daemon: TestApp;
  let blocker: Blocker;
  /** One that knew the fleet before, and one that has just started. */
  let known: FleetApp;
  let fresh: FleetApp;
  let id: string;
  let operations: Called[];

  beforeAll(async () => {
    daemon = await startTestApp();
    const url = `http://127.0.0.1:${await daemon.listen()}`;
    const etcd = new FakeEtcd();
    known = await start(etcd);
    await until(async () => (await ask(known, { url: '/readyz' })).statusCode === 200);
    for (const name of ['hosta', 'hostb']) {
      await ask(known, { method: 'PUT', url: `/hosts/${name}`, payload: { url } });
    }
    await until(async () => {
      const { hosts } = (await ask(known, { url: '/hosts' })).json();
      return hosts.every(({ state }: { state: string }) => state === 'ready');
    });
    blocker = await daemon.block('dax1.0');
    const made = await ask(known, {
      ...{ method: 'POST', url: '/transfers', headers: { prefer: 'respond-async' } },
      payload: { host: 'hosta', device_name: 'dax1.0', src_offset: 0, dst_offset: 4096, size: 1 },
    });
    id = made.json().id;
    operations = operationsOf((await ask(known, { url: '/openapi.json' })).json(), id);
    takeAway(etcd);
    await until(async () => (await ask(known, { url: '/readyz' })).statusCode === 503);
    const never = new FakeEtcd();
    takeAway(never);
    fresh = await start(never);
  });
  afterAll(async () => {
    await blocker?.release();
    await Promise.all([known?.shutDown(), fresh?.shutDown()]);
    await daemon?.close();
  });

  test('every operation that changes something is 503 with Retry-After, on any gateway', async () => {
    const changing = operations.filter(({ changes }) => changes);
    expect(changing.length).toBeGreaterThanOrEqual(6);
    for (const gateway of [known, fresh]) {
      for (const { operationId, request } of changing) {
        const { statusCode, headers, body } = await ask(gateway, request);
        const { code } = JSON.parse(body);
        expect([operationId, statusCode, code, headers['retry-after']]).toEqual([
          ...[operationId, 503, 'etcd_unavailable', expect.stringMatching(/^\d+$/)],
        ]);
      }
    }
  });

  test('every other operation goes on, or is 503 with Retry-After', async () => {
    const reading = operations.filter(({ changes }) => !changes);
    const answers = async (gateway: FleetApp) => {
      const refused: string[] = [];
      for (const { operationId, request } of reading) {
        const { statusCode, headers } = await ask(gateway, request);
        if (operationId === 'isReady') continue;
        if (statusCode < 400) continue;
        expect([operationId, statusCode]).toEqual([operationId, 503]);
        expect([operationId, headers['retry-after']]).toEqual([
          ...[operationId, expect.stringMatching(/^\d+$/)],
        ]);
        refused.push(operationId);
      }
      return refused.sort();
    };
    // What has ended is in etcd alone; what has not is known.
    expect(await answers(known)).toEqual([]);
    expect(await answers(fresh)).toEqual(
      reading
        .filter(({ request }) => /^\/(?:hosts|devices|transfers|events)/.test(String(request.url)))
        .map(({ operationId }) => operationId)
        .sort(),
    );
  });

  test('what is known says that it may be stale; what is not known is 503, not 404', async () => {
    const read = async (url: string) => (await ask(known, { url })).json();
    const stale = { stale: true };
    expect(await read(`/transfers/${id}`)).toMatchObject({ id, ...stale });
    expect(await read('/transfers')).toMatchObject({ transfers: [{ id, ...stale }], ...stale });
    expect((await read('/hosts')).hosts).toEqual([
      ...[expect.objectContaining(stale), expect.objectContaining(stale)],
    ]);
    for (const device of (await read('/devices')).devices) expect(device).toMatchObject(stale);
    const other = id.replace(/^../, '00');
    for (const url of [`/transfers/${other}`, `/transfers/${other}/events`]) {
      const { statusCode, headers } = await ask(known, { url });
      expect([url, statusCode, headers['retry-after']]).toEqual([url, 503, expect.any(String)]);
    }
  });
});

test('what a host that does not answer would be asked is refused at once', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const gateway = await start(new FakeEtcd());
  try {
    await until(async () => (await ask(gateway, { url: '/readyz' })).statusCode === 200);
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await ask(gateway, { method: 'PUT', url: '/hosts/hosta', payload: { url } });
    const seen = async () => (await ask(gateway, { url: '/hosts/hosta' })).json();
    await until(async () => (await seen()).since !== null);
    expect((await seen()).state).toBe('unreachable');
    const device = '/hosts/hosta/devices/dax0.0';
    const copy = { host: 'hosta', device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 1 };
    const requests: InjectOptions[] = [
      { url: device },
      { url: `${device}/content` },
      { url: `${device}/checksum` },
      { method: 'PUT', url: `${device}/content`, payload: 'x' },
      { method: 'POST', url: '/transfers', payload: { ...copy, dry_run: true } },
    ];
    for (const request of requests) {
      const answer = await ask(gateway, request);
      const { code, detail } = answer.json();
      expect([request, answer.statusCode, code, detail]).toEqual([
        ...[request, 503, 'host_unreachable', expect.stringContaining(' cannot be reached: ')],
      ]);
    }
  } finally {
    await gateway.shutDown();
    silent.close();
  }
});

async function start(store: FakeEtcd): Promise<FleetApp> {
  const config = readFleetConfig({ DMAD_FLEET_ETCD: 'http://127.0.0.1:1' });
  const fleet = await buildFleetApp({ config, log: silentLog(), store });
  fleet.start();
  return fleet;
}

function takeAway(etcd: FakeEtcd): void {
  const away = async () => {
    throw new EtcdError('not_done', 'No connection established');
  };
  Object.assign(etcd, { read: away, write: away, grantLease: away, keepLease: away });
}

function ask(gateway: FleetApp, request: InjectOptions) {
  return gateway.http.inject({ ...request, headers: { host: 'localhost', ...request.headers } });
}

/** Each operation with its first example's parameters and body, on a transfer that has not ended. */
function operationsOf(document: OpenAPIV3_1.Document, id: string): Called[] {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item?.[method];
      if (operation === undefined) return [];
      const { operationId = '', requestBody, responses } = operation;
      const [example] = Object.values(FLEET_EXAMPLES[operationId] ?? {});
      const parameters = { ...example?.parameters, id };
      const url = path.replace(/\{(\w+)\}/g, (_, name: keyof typeof parameters) =>
        String(parameters[name]),
      );
      const [type] = Object.keys((requestBody as OpenAPIV3_1.RequestBodyObject)?.content ?? {});
      const answer = responses?.['200'] as OpenAPIV3_1.ResponseObject | undefined;
      // A stream that does not end is asked for its head.
      const verb = EVENTS in (answer?.content ?? {}) ? 'head' : method;
      const payload = example?.body ?? (type?.startsWith('application/octet') ? 'x' : undefined);
      const request: InjectOptions = {
        ...{ method: verb.toUpperCase() as 'GET', url },
        headers: { ...(type && { 'content-type': type }), prefer: 'respond-async' },
        ...(payload !== undefined && {
          payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
        }),
      };
      const changes = method !== 'get' && operationId !== BYTES;
      return [{ operationId, changes, request }];
    }),
  );
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not in time: ${holds}`);
}
