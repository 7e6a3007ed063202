// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { InjectOptions } from 'fastify';
import { silentLog } from '../../services/base/log.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import type { Store } from '../../services/fleet/etcd/store.ts';
import { FLEET_SCOPES } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

/** How late one of the gateways receives changes. */
const LAG_MS = 200;
const UUID = '9fb5dd70-c631-4a13-becb-7fd18b56ae49';

describe('two gateways, one of which hears of changes late', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-late-'));
  const etcd = new FakeEtcd();
  let reads = 0;
  const lateEtcd: Store = {
    write: (conditions, writes) => etcd.write(conditions, writes),
    read: (ranges) => {
      reads++;
      return etcd.read(ranges);
    },
    watch: (range, from, { changed, lost }) =>
      etcd.watch(range, from, {
        changed: (...args) => void setTimeout(() => changed(...args), LAG_MS).unref(),
        lost,
      }),
    grantLease: () => etcd.grantLease(),
    keepLease: (id) => etcd.keepLease(id),
    revokeLease: (id) => etcd.revokeLease(id),
    close: () => etcd.close(),
  };
  let daemon: TestApp;
  let url: string;
  let other: Server;
  let prompt: FleetApp;
  let late: FleetApp;
  let count = 0;

  beforeAll(async () => {
    daemon = await startTestApp();
    url = `http://127.0.0.1:${await daemon.listen()}`;
    // Emulated devices have no uuid: this host has one that does, and answers nothing else.
    const { devices } = (await daemon.http.inject('/devices')).json();
    const answers: Record<string, object> = {
      '/readyz': { ready: true, waiting_for: [] },
      '/devices': { devices: [{ ...devices[0], uuid: UUID }] },
      '/engines': { dma: { available: false } },
    };
    other = createServer(({ url: path = '' }, response) => {
      const body = answers[path];
      response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body ?? { code: 'not_found', status: 404, title: 'Not found' }));
    }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const tokens = writeTokens(directory, [
      { name: 'admin', scopes: FLEET_SCOPES },
      { name: 'elsewhere', hosts: ['elsewhere'] },
      { name: 'this-device', devices: [{ name: 'dax0.0', uuid: UUID, access: 'rw' }] },
    ]);
    const config = readFleetConfig({
      DMAD_FLEET_ETCD: 'http://127.0.0.1:1',
      DMAD_FLEET_TOKENS_FILE: tokens,
    });
    prompt = await buildFleetApp({ config, log: silentLog(), store: etcd });
    late = await buildFleetApp({ config, log: silentLog(), store: lateEtcd });
    for (const gateway of [prompt, late]) {
      gateway.start();
      while ((await ask(gateway, { url: '/readyz' })).statusCode !== 200) await pause(20);
    }
  });
  afterAll(async () => {
    await Promise.all([prompt?.shutDown(), late?.shutDown()]);
    await daemon?.close();
    other?.close();
    other?.closeAllConnections();
    rmSync(directory, { recursive: true });
  });

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const ask = (gateway: FleetApp, request: InjectOptions, as = 'admin') =>
    gateway.http.inject({
      ...request,
      headers: { ...bearer(as), host: 'localhost', ...request.headers },
    });
  /** Adds a host at the gateway that is not late. @returns its name */
  const add = async (at = url) => {
    const name = `new${count++}`;
    const { statusCode } = await ask(prompt, {
      ...{ method: 'PUT', url: `/hosts/${name}`, payload: { url: at } },
    });
    expect(statusCode).toBe(201);
    return name;
  };
  const copyOn = (host: string) => ({
    ...{ host, device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 1 },
  });

  test.each([
    [
      'a transfer',
      (host: string) => ({ method: 'POST', url: '/transfers', payload: copyOn(host) }),
      202,
    ],
    [
      'a batch',
      (host: string) => ({
        ...{ method: 'POST', url: '/transfers/batch', payload: { transfers: [copyOn(host)] } },
      }),
      202,
    ],
    [
      'a dry run',
      (host: string) => ({
        ...{ method: 'POST', url: '/transfers', payload: { ...copyOn(host), dry_run: true } },
      }),
      200,
    ],
    [
      'its device',
      (host: string) => ({ method: 'GET', url: `/hosts/${host}/devices/dax0.0` }),
      200,
    ],
    [
      'its bytes',
      (host: string) => ({ method: 'GET', url: `/hosts/${host}/devices/dax0.0/content` }),
      200,
    ],
    ['the host', (host: string) => ({ method: 'GET', url: `/hosts/${host}` }), 200],
    [
      'the host, to change it',
      (host: string) => ({ method: 'PUT', url: `/hosts/${host}`, payload: { url } }),
      200,
    ],
    [
      'the host, to remove it',
      (host: string) => ({ method: 'DELETE', url: `/hosts/${host}` }),
      204,
    ],
  ] as const)(
    '%s of a host that was added a moment before is not refused',
    async (_, of, status) => {
      const request = of(await add()) as InjectOptions;
      const answer = await ask(late, { ...request, headers: { prefer: 'respond-async' } });
      expect([answer.statusCode, answer.statusCode === status ? '' : answer.body]).toEqual([
        status,
        '',
      ]);
    },
  );

  test('nor is a token for one device only, which no gateway has looked at yet', async () => {
    const { port } = other.address() as AddressInfo;
    const host = await add(`http://127.0.0.1:${port}`);
    const answer = await ask(
      late,
      {
        ...{ method: 'POST', url: '/transfers', payload: copyOn(host) },
        headers: { prefer: 'respond-async' },
      },
      'this-device',
    );
    expect([answer.statusCode, answer.statusCode === 202 ? '' : answer.body]).toEqual([202, '']);
  });

  test('hosts that do not exist are refused, and etcd is read for all of them together', async () => {
    reads = 0;
    const answers = Array.from({ length: 300 }, (_, index) =>
      ask(late, { method: 'POST', url: '/transfers', payload: copyOn(`none${index}`) }),
    );
    for (const answer of await Promise.all(answers)) {
      expect([answer.statusCode, answer.json().code]).toEqual([422, 'unknown_host']);
    }
    expect(reads).toBeLessThan(20);
    reads = 0;
    const refused = await ask(
      late,
      { method: 'POST', url: '/transfers', payload: copyOn(await add()) },
      'elsewhere',
    );
    expect([refused.statusCode, reads]).toEqual([422, 0]);
  });
});
