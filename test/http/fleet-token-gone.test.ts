// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { InjectOptions } from 'fastify';
import { silentLog } from '../../services/base/log.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { FLEET_SCOPES } from '../../services/http/access/scopes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { bearer, type TestToken, writeTokens } from '../support/tokens.ts';
import { request, Wire } from '../support/wire.ts';

const DEVICE_SIZE = 2 ** 26;
const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = {
  ...{ host: 'hosta', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

describe('what a token has under way at a gateway', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
  const admin = { name: 'admin', scopes: FLEET_SCOPES };
  const full = { name: 'goes', scopes: FLEET_SCOPES };
  let daemon: TestApp;
  let fleet: FleetApp;
  let port: number;

  beforeAll(async () => {
    daemon = await startTestApp({
      environment: {
        DMAD_DEVICES: `emulated:dax0.0=${DEVICE_SIZE},emulated:dax1.0=${DEVICE_SIZE}`,
      },
    });
    const url = `http://127.0.0.1:${await daemon.listen()}`;
    const config = readFleetConfig({
      DMAD_FLEET_ETCD: 'http://127.0.0.1:1',
      DMAD_FLEET_TOKENS_FILE: writeTokens(directory, [admin]),
    });
    fleet = await buildFleetApp({ config, log: silentLog(), store: new FakeEtcd() });
    fleet.start();
    await until(async () => (await ask({ url: '/readyz' })).statusCode === 200);
    await ask({ method: 'PUT', url: '/hosts/hosta', payload: { url } });
    await until(async () => (await ask({ url: '/hosts/hosta' })).json().state === 'ready');
    await fleet.http.listen({ port: 0, host: '127.0.0.1' });
    ({ port } = fleet.http.server.address() as AddressInfo);
  });
  afterAll(async () => {
    await fleet?.shutDown();
    await daemon?.close();
    rmSync(directory, { recursive: true });
  });

  test.each<[string, TestToken[]]>([
    ['is gone', []],
    ['has a device less', [{ ...full, devices: [{ name: 'dax1.0', access: 'rw' }] }]],
    ['may only list', [{ ...full, scopes: ['transfers:read'] }]],
    ['is for another host', [{ ...full, hosts: ['hostb'] }]],
  ])('ends once it %s', async (_what, tokens) => {
    reload([admin, full]);
    const blocker = await daemon.block('dax0.0');
    const content = '/hosts/hosta/devices/dax0.0/content';
    const post = (fields: object) =>
      wire('POST /transfers', { ...JSON_TYPE, ...fields }, JSON.stringify(COPY));
    const { id } = JSON.parse((await post({ prefer: 'respond-async' }).answer()).body.toString());
    const upload = { expect: '100-continue', 'transfer-encoding': 'chunked' };
    const wires = [
      wire('GET /events'),
      wire(`GET /transfers/${id}/events`),
      wire(`GET ${content}`),
      wire(`PUT ${content}?offset=1MiB`.replace('dax0.0', 'dax1.0'), upload),
    ] as const;
    for (const each of wires.slice(0, 3)) await each.sees('200 OK');
    wires[2].socket.pause();
    await wires[3].sees('100 Continue');
    const waits = [
      post({ prefer: 'wait=30' }),
      wire(`GET /transfers/${id}`, { prefer: 'wait=30' }),
    ];
    await sleep(300);
    reload([admin, ...tokens]);
    wires[2].socket.resume();
    for (const each of [...wires, ...waits]) await each.closed;
    expect(wires[2].length).toBeLessThan(DEVICE_SIZE);
    // Not a last chunk: that would be the whole of the stream.
    for (const each of wires.slice(0, 2)) expect(each.pending.toString()).not.toMatch(/\r\n0\r\n/);
    for (const each of waits) expect(each.length).toBe(0);
    // At the host too.
    await until(async () => (await daemon.inject({ url: '/streams' })).json().streams.length === 1);
    // Which goes on, as the operator decides about that.
    expect((await ask({ url: `/transfers/${id}` })).json().status).toBe('queued');
    await blocker.release();
  });

  function reload(tokens: TestToken[]): void {
    writeTokens(directory, tokens);
    fleet.reload();
  }

  function wire(line: string, fields: object = {}, body?: string): Wire {
    return new Wire(port).send(request(line, { ...bearer('goes'), ...fields }, body));
  }

  function ask(options: InjectOptions) {
    return fleet.http.inject({ ...options, headers: { ...bearer('admin'), host: 'localhost' } });
  }
});

async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await sleep(20);
}
