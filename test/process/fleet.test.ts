// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { dmactlFor } from '../support/dmactl.ts';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';
import { freePort } from '../support/free-port.ts';

const copy = {
  ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};
const ASYNC = { prefer: 'respond-async' };
/** Copies 4096 times what no cache holds, which takes half a minute if nobody stops it. */
const LONG = {
  ...{ host: 'host0', device_name: 'dax2.0', durability: 'none' },
  segments: Array(4096).fill({ src_offset: 0, dst_offset: 2 ** 25, size: 2 ** 25 }),
};

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`a fleet of two gateways and two hosts${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start({ hosts: 2 });
  }, 120_000);
  afterAll(() => fleet?.stop());

  const put = (host: number, offset: number, bytes: Buffer<ArrayBuffer>) =>
    fleet.client(fleet.hosts[host]?.url).writeContent('dax0.0', bytes, { offset });
  const get = async (host: number, offset: number, size: number, device = 'dax1.0') => {
    const url = `${fleet.hosts[host]?.url}/devices/${device}/content`;
    const headers = { range: `bytes=${offset}-${offset + size - 1}` };
    return Buffer.from(await (await fetch(url, { headers })).arrayBuffer());
  };

  test('copies on the host that is named, and on no other', async () => {
    await put(0, 0, Buffer.alloc(4096, 'a'));
    await put(1, 0, Buffer.alloc(4096, 'b'));
    const { status, body, headers } = await fleet.ask('POST', '/transfers', {
      body: { ...copy, host: 'host1' },
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({ status: 'succeeded', host: 'host1', bytes_completed: 4096 });
    expect(headers.get('location')).toBe(`/transfers/${body.id}`);
    expect(await get(1, 0, 4096)).toEqual(Buffer.alloc(4096, 'b'));
    expect(await get(0, 0, 4096)).toEqual(Buffer.alloc(4096));
  });

  test('any gateway answers for any transfer', async () => {
    const made = await fleet.ask('POST', '/transfers', { body: copy, gateway: 0 });
    const found = await fleet.ask('GET', `/transfers/${made.body.id}`, { gateway: 1 });
    expect(found.body).toEqual(made.body);
    const { body } = await fleet.ask('GET', '/transfers?page_size=1', { gateway: 1 });
    expect(body.transfers).toEqual([made.body]);
  });

  test('a key stands for one transfer on all gateways, and for no other', async () => {
    const headers = { 'idempotency-key': 'once' };
    const first = await fleet.ask('POST', '/transfers', { body: copy, headers, gateway: 0 });
    const again = await fleet.ask('POST', '/transfers', { body: copy, headers, gateway: 1 });
    expect(again.status).toBe(200);
    expect(again.body.id).toBe(first.body.id);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const other = await fleet.ask('POST', '/transfers', {
      ...{ body: { ...copy, size: 8192 }, headers, gateway: 1 },
    });
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  });

  test('many requests with one key at once make one transfer', async () => {
    const headers = { 'idempotency-key': 'all at once', ...ASYNC };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        fleet.ask('POST', '/transfers', { body: copy, headers, gateway: index % 2 }),
      ),
    );
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  });

  test('what the host refuses has failed, and its key can be used again', async () => {
    const headers = { 'idempotency-key': 'refused' };
    const refused = await fleet.ask('POST', '/transfers', {
      ...{ body: { ...copy, size: 2 ** 30 }, headers },
    });
    expect(refused).toMatchObject({ status: 422, body: { code: 'out_of_range' } });
    expect(refused.body.transfer).toMatchObject({ status: 'failed', host: 'host0' });
    const { status } = await fleet.ask('POST', '/transfers', { body: copy, headers });
    expect(status).toBe(201);
  });

  test.each([
    ['an unknown host', { ...copy, host: 'nowhere' }, 422, 'unknown_host'],
    ['no host', { ...copy, host: undefined }, 400, 'invalid_request'],
    ['an unknown field', { ...copy, dst_hosts: 'x' }, 400, 'invalid_request'],
    ['no such dependency', { ...copy, depends_on: ['x'] }, 422, 'unknown_transfer'],
  ])('refuses %s', async (_what, body, status, code) => {
    expect(await fleet.ask('POST', '/transfers', { body })).toMatchObject({
      status,
      body: { code },
    });
  });

  test('a dry run is the host’s, and accepts nothing', async () => {
    const before = await fleet.ask('GET', '/transfers?page_size=1');
    const { status, body } = await fleet.ask('POST', '/transfers', {
      body: { ...copy, dry_run: true },
    });
    expect({ status, body }).toMatchObject({ status: 200, body: { dry_run: true, engine: 'cpu' } });
    const after = await fleet.ask('GET', '/transfers?page_size=1');
    expect(after.body).toEqual(before.body);
  });

  test('transfers on one host wait for one on another that they depend on', async () => {
    const first = await fleet.ask('POST', '/transfers', { body: LONG, headers: ASYNC });
    expect(first.status).toBe(202);
    const body = { ...copy, host: 'host1', depends_on: [first.body.id] };
    const second = await fleet.ask('POST', '/transfers', { body, headers: ASYNC, gateway: 1 });
    expect(second.body).toMatchObject({
      status: 'accepted',
      waiting_for: { reason: 'dependencies' },
      depends_on: [first.body.id],
    });
    const cancelled = await fleet.ask('POST', `/transfers/${first.body.id}/cancel`, { gateway: 1 });
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    const ended = await fleet.ask('GET', `/transfers/${second.body.id}`, {
      headers: { prefer: 'wait=20' },
    });
    expect(ended.body).toMatchObject({ status: 'failed', error: { code: 'dependency_failed' } });
  });

  test('shows on every gateway how a transfer goes on, and cancels it from any', async () => {
    const { body: made } = await fleet.ask('POST', '/transfers', { body: LONG, headers: ASYNC });
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', `/transfers/${made.id}`, { gateway: 1 });
      return body.status === 'running' && body.bytes_completed > 0;
    });
    const listed = await fleet.ask('GET', '/transfers?status=running&host=host0', { gateway: 0 });
    expect(listed.body.transfers.map(({ id }: { id: string }) => id)).toEqual([made.id]);
    const cancelled = await fleet.ask('POST', `/transfers/${made.id}/cancel`, { gateway: 1 });
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled', id: made.id } });
    const again = await fleet.ask('POST', `/transfers/${made.id}/cancel`, { gateway: 0 });
    expect(again.status).toBe(200);
    const { body: other } = await fleet.ask('POST', '/transfers', { body: copy });
    expect(await fleet.ask('POST', `/transfers/${other.id}/cancel`)).toMatchObject({
      ...{ status: 409, body: { code: 'not_cancellable' } },
    });
  });

  test('the client’s methods work against it, events among them', async () => {
    const client = fleet.client(fleet.urls[1]);
    const request = copy as Parameters<typeof client.createTransfer>[0];
    const seen: string[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const { transfer } of client.watchAll({}, { signal: abort.signal })) {
        seen.push(`${transfer.id} ${transfer.status}`);
      }
    })().catch(() => {});
    const { id } = await client.createTransfer(request, { waitSeconds: 0 });
    const statuses: string[] = [];
    for await (const { transfer } of client.watch(id)) statuses.push(transfer.status);
    expect(statuses.at(-1)).toBe('succeeded');
    await fleet.until(async () => seen.includes(`${id} succeeded`));
    abort.abort();
    await watching;
    expect((await client.runTransfer(request)).status).toBe('succeeded');
  });

  deepTest('dmactl works against it, with the host before the device', async () => {
    const dmactl = dmactlFor({ DMAD_URL: fleet.urls[1] as string });
    const ok = async (...args: string[]): Promise<Record<string, unknown>> => {
      const { code, stderr, document } = await dmactl.one(...args);
      expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({
        args,
        code: 0,
        stderr: '',
      });
      return document;
    };
    const fails = async (code: number, ...args: string[]) =>
      expect([args, (await dmactl.run(...args)).code]).toEqual([args, code]);
    const bytes = randomBytes(8192);
    const directory = mkdtempSync(join(tmpdir(), 'dmad-fleet-'));
    const [sent, received] = [join(directory, 'sent'), join(directory, 'received')];
    writeFileSync(sent, bytes);
    await ok('put', sent, 'host1/dax0.0:64KiB');
    expect(await ok('copy', 'host1/dax0.0:64KiB+8KiB', 'host1/dax1.0:128KiB')).toMatchObject({
      transfer: { status: 'succeeded', host: 'host1' },
    });
    await ok('get', 'host1/dax1.0:128KiB+8KiB', received);
    expect(readFileSync(received).equals(bytes)).toBe(true);
    rmSync(directory, { recursive: true });
    expect(await ok('compare', 'host1/dax0.0:64KiB+8KiB', 'host1/dax1.0:128KiB')).toMatchObject({
      equal: true,
    });
    expect((await ok('devices')).devices).toHaveLength(6);
    expect((await ok('hosts', 'list')).hosts).toMatchObject([{ name: 'host0' }, { name: 'host1' }]);
    await ok('hosts', 'add', 'another', 'http://127.0.0.1:1');
    await ok('hosts', 'remove', 'another');
    await fails(2, 'copy', 'host0/dax0.0:0+4KiB', 'dax1.0:0');
    await fails(3, 'checksum', 'nowhere/dax0.0:0+4KiB');
  });

  test('pages go through all transfers, newest first', async () => {
    for (let count = 0; count < 5; count++) await fleet.ask('POST', '/transfers', { body: copy });
    const client = fleet.client();
    const whole: string[] = [];
    for await (const { id } of client.allTransfers({ page_size: '1000' })) whole.push(id);
    const paged: string[] = [];
    for await (const { id } of client.allTransfers({ page_size: '2' })) paged.push(id);
    expect(paged).toEqual(whole);
    expect(whole).toEqual([...whole].sort().reverse());
    expect((await fleet.ask('GET', '/transfers?page_token=x')).status).toBe(400);
  });

  deepTest('a host that is away for a while gets its work when it is back, in order', async () => {
    await fleet.hosts[0]?.daemon.stop('SIGKILL');
    const waiting: string[] = [];
    for (let count = 0; count < 3; count++) {
      const { status, body } = await fleet.ask('POST', '/transfers', {
        ...{ body: { ...copy, dst_offset: 4096 * count }, headers: ASYNC, gateway: count % 2 },
      });
      expect(status).toBe(202);
      waiting.push(body.id);
    }
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', `/transfers/${waiting[0]}`);
      return body.status === 'accepted' && /ECONNREFUSED/.test(body.waiting_for.why);
    });
    await fleet.startHost(0);
    for (const id of waiting) {
      const { body } = await fleet.ask('GET', `/transfers/${id}`, {
        headers: { prefer: 'wait=30' },
      });
      expect(body.status).toBe('succeeded');
    }
  });

  test('hosts are added, seen, and removed once they have no work', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const added = await fleet.ask('PUT', '/hosts/spare', { body: { url } });
    expect(added.status).toBe(201);
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', '/hosts/spare', { gateway: 1 });
      return body.state === 'unreachable' && /ECONNREFUSED/.test(body.reason);
    });
    const { body: waiting } = await fleet.ask('POST', '/transfers', {
      ...{ body: { ...copy, host: 'spare' }, headers: ASYNC },
    });
    const stuck = await fleet.ask('GET', `/transfers/${waiting.id}`);
    expect(stuck.body).toMatchObject({ status: 'accepted', waiting_for: { reason: 'host' } });
    expect(await fleet.ask('DELETE', '/hosts/spare')).toMatchObject({
      ...{ status: 409, body: { code: 'host_in_use' } },
    });
    // Nothing of it has reached the host, so it need not be waited for.
    const cancelled = await fleet.ask('POST', `/transfers/${waiting.id}/cancel`, { gateway: 1 });
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    const { body: left } = await fleet.ask('POST', '/transfers', {
      ...{ body: { ...copy, host: 'spare' }, headers: ASYNC },
    });
    expect((await fleet.ask('DELETE', '/hosts/spare?abandon=true')).status).toBe(204);
    const ended = await fleet.ask('GET', `/transfers/${left.id}`, {
      headers: { prefer: 'wait=20' },
    });
    expect(ended.body).toMatchObject({ status: 'interrupted', error: { code: 'interrupted' } });
    expect((await fleet.ask('GET', '/hosts/spare')).status).toBe(404);
  });

  deepTest(
    'etcd away: writes are refused, reads say that they are stale; then all goes on',
    async () => {
      const { body: done } = await fleet.ask('POST', '/transfers', { body: copy });
      const unblock = await fleet.block(0, 'dax2.0');
      const { body: long } = await fleet.ask('POST', '/transfers', { body: LONG, headers: ASYNC });
      await fleet.until(async () => {
        const { body } = await fleet.ask('GET', `/transfers/${long.id}`);
        return body.waiting_for?.reason === 'upload';
      });
      await fleet.etcd.killAll();
      await fleet.until(async () => (await fleet.ask('GET', '/readyz')).status === 503);
      const refused = await fleet.ask('POST', '/transfers', { body: copy, headers: ASYNC });
      expect(refused).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await fleet.ask('GET', `/transfers/${long.id}`)).body).toMatchObject({
        ...{ status: 'queued', stale: true },
      });
      expect((await fleet.ask('GET', '/transfers')).body).toMatchObject({
        ...{ stale: true, transfers: [{ id: long.id, stale: true }] },
      });
      expect((await fleet.ask('GET', '/hosts')).body.hosts[0].stale).toBe(true);
      // Whether it is there is not known: that is no 404.
      expect((await fleet.ask('GET', `/transfers/${done.id}`)).status).toBe(503);
      expect((await fleet.ask('GET', '/livez')).status).toBe(200);
      await fleet.etcd.runAll();
      await fleet.until(async () => (await fleet.ask('GET', '/readyz')).status === 200);
      expect((await fleet.ask('GET', `/transfers/${done.id}`)).body).toEqual(done);
      const cancelled = await fleet.ask('POST', `/transfers/${long.id}/cancel`);
      expect(cancelled.body.status).toBe('cancelled');
      unblock();
      expect((await fleet.ask('POST', '/transfers', { body: copy })).status).toBe(201);
    },
    120_000,
  );
});

suite(`a gateway${why}`, () => {
  test('needs to be told of an etcd', async () => {
    const main = new URL('../../services/fleet/main.js', import.meta.url).pathname;
    const gateway = new Daemon({}, { main });
    expect(await gateway.exited).toMatchObject({
      ...{ code: 78, stderr: expect.stringContaining('DMAD_FLEET_ETCD is not set') },
    });
  });
});
