// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../services/base/log.ts';
import { buildFleetApp, type FleetApp } from '../../services/fleet/app.ts';
import { readFleetConfig } from '../../services/fleet/config.ts';
import { FLEET_SCOPES } from '../../services/http/access/scopes.ts';
import { FakeEtcd } from '../support/fake-etcd.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

describe('a fleet whose hosts know it by a token', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
  const warnings: string[] = [];
  let fleet: FleetApp;
  beforeAll(async () => {
    const hostToken = join(directory, 'host-token');
    writeFileSync(hostToken, 'a secret of all hosts', { mode: 0o600 });
    const config = readFleetConfig({
      DMAD_FLEET_ETCD: 'http://127.0.0.1:1',
      DMAD_FLEET_HOST_TOKEN_FILE: hostToken,
      DMAD_FLEET_TOKENS_FILE: writeTokens(directory, [
        { name: 'admin', scopes: FLEET_SCOPES },
        { name: 'onhosta', hosts: ['hosta'], scopes: FLEET_SCOPES },
        { name: 'granted', devices: [{ name: 'dax0.0', access: 'rw' }] },
      ]),
    });
    const log = silentLog();
    log.logger.warn = ((_: object, message: string) => {
      warnings.push(message);
    }) as typeof log.logger.warn;
    fleet = await buildFleetApp({ config, log, store: new FakeEtcd() });
    fleet.start();
    for (;;) {
      if (
        (await fleet.http.inject({ url: '/readyz', headers: { host: 'localhost' } })).statusCode ===
        200
      )
        break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  afterAll(async () => {
    await fleet?.shutDown();
    rmSync(directory, { recursive: true });
  });

  test('an upload goes no further than the device that the right was checked for', async () => {
    let received = 0;
    // Its device has grown since it was seen.
    const host = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '', 'http://host');
      request.on('data', (chunk: Buffer) => {
        received += chunk.length;
      });
      const device = { name: 'dax0.0', kind: 'emulated', size: 8192 };
      const answers: Record<string, object> = {
        '/readyz': { ready: true, waiting_for: [], degraded: [] },
        '/devices': { devices: [device] },
        '/engines': { dma: { available: false } },
      };
      request.on('end', () => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(answers[pathname] ?? { bytes_written: received }));
      });
    });
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    const { port } = host.address() as AddressInfo;
    const path = '/hosts/grown/devices/dax0.0';
    const upload = (size: number, as: string) =>
      fleet.http.inject({
        ...{ method: 'PUT', url: `${path}/content`, payload: Readable.from([Buffer.alloc(size)]) },
        headers: { ...bearer(as), host: 'localhost', 'transfer-encoding': 'chunked' },
      });
    try {
      await fleet.http.inject({
        ...{ method: 'PUT', url: '/hosts/grown', payload: { url: `http://127.0.0.1:${port}` } },
        headers: { ...bearer('admin'), host: 'localhost' },
      });
      const headers = { ...bearer('granted'), host: 'localhost' };
      while ((await fleet.http.inject({ url: path, headers })).statusCode !== 200) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect((await upload(8192, 'granted')).statusCode).toBe(200);
      received = 0;
      const answer = await upload(8193, 'granted');
      expect([answer.statusCode, answer.json().code]).toEqual([403, 'forbidden']);
      expect(received).toBeLessThanOrEqual(8192);
      expect((await upload(16_384, 'admin')).statusCode).toBe(200);
    } finally {
      host.closeAllConnections();
      host.close();
    }
  });

  const put = (url: string, as: string) =>
    fleet.http.inject({
      ...{ method: 'PUT', url: '/hosts/hosta', payload: { url } },
      headers: { ...bearer(as), host: 'localhost' },
    });

  test('does not send it where a client decides that is limited to some hosts', async () => {
    const answer = await put('http://127.0.0.1:1', 'onhosta');
    expect([answer.statusCode, answer.json().code]).toEqual([403, 'forbidden']);
    expect((await put('http://127.0.0.1:1', 'admin')).statusCode).toBe(201);
    expect(warnings.join()).not.toContain('in clear');
  });

  test('warns if it goes over the network in clear', async () => {
    expect((await put('http://192.0.2.1:8080', 'admin')).statusCode).toBe(200);
    expect(warnings.join()).toContain("the fleet's token goes over the network in clear");
  });
});
