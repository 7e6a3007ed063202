// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { dmactlFor } from '../support/dmactl.ts';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';

const ASYNC = { prefer: 'respond-async' };
const KIB64 = 2 ** 16;
const between = {
  ...{ host: 'host0', device_name: 'dax0.0', src_offset: 0 },
  ...{ dst_host: 'host1', dst_device_name: 'dax1.0', dst_offset: KIB64, size: 4 * KIB64 },
  block_size: KIB64,
};
const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`between the hosts of a fleet${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start({ hosts: 2 });
  }, 120_000);
  afterAll(() => fleet?.stop());

  const put = (host: number, device: string, bytes: Buffer<ArrayBuffer>, offset = 0) =>
    fleet.client(fleet.hosts[host]?.url).writeContent(device, bytes, { offset });
  const get = async (host: number, device: string, offset: number, size: number) => {
    const url = `${fleet.hosts[host]?.url}/devices/${device}/content`;
    const headers = { range: `bytes=${offset}-${offset + size - 1}` };
    return Buffer.from(await (await fetch(url, { headers })).arrayBuffer());
  };
  const ended = async (id: string, gateway = 0) => {
    const { body } = await fleet.ask('GET', `/transfers/${id}`, {
      ...{ headers: { prefer: 'wait=60' }, gateway },
    });
    return body;
  };

  test('a transfer with dst_host is a replication there', async () => {
    const bytes = randomBytes(between.size);
    await put(0, 'dax0.0', bytes);
    await put(1, 'dax1.0', bytes.subarray(0, KIB64) as Buffer<ArrayBuffer>, KIB64);
    const made = await fleet.ask('POST', '/transfers', { body: between });
    expect(made.status).toBe(201);
    expect(made.headers.get('server-timing')).toMatch(/^queue;dur=\d+, copy;dur=[\d.]+$/);
    const { block_size: _, ...named } = between;
    expect(made.body).toMatchObject({
      ...{ ...named, status: 'succeeded', operation: 'copy', engine: null, segments: null },
      blocks: { total: 4, equal: 1, copied: 3, again: 0 },
      ...{ consistency: 'consistent', bytes_completed: between.size, progress: 1 },
      ...{ mode: 'delta', block_size: KIB64, bytes_per_second: null, depends_on: [] },
      durability: { requested: 'flush', achieved: 'flush' },
    });
    expect(await get(1, 'dax1.0', KIB64, between.size)).toEqual(bytes);
    // The gateway that is not its owner says the same.
    const found = await fleet.ask('GET', `/transfers/${made.body.id}`, { gateway: 1 });
    expect(found.body).toEqual(made.body);
    for (const host of ['host0', 'host1']) {
      const { body } = await fleet.ask('GET', `/transfers?host=${host}&page_size=1`);
      expect(body.transfers).toEqual([made.body]);
    }
  });

  test('the same host as dst_host makes a copy on that host', async () => {
    const { block_size: _, ...request } = { ...between, dst_host: 'host0' };
    const made = await fleet.ask('POST', '/transfers', { body: request });
    expect([made.status, made.body.engine]).toEqual([201, 'cpu']);
    expect(made.body).not.toHaveProperty('dst_host');
  });

  test('a key stands for one replication, and one that fails says why', async () => {
    const headers = { 'idempotency-key': 'between' };
    const [first, second] = await Promise.all(
      [0, 1].map((gateway) => fleet.ask('POST', '/transfers', { body: between, headers, gateway })),
    );
    expect(second?.body.id).toBe(first?.body.id);
    const other = { ...between, mode: 'full' };
    const reused = await fleet.ask('POST', '/transfers', { body: other, headers });
    expect(reused).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    const lost = await fleet.ask('POST', '/transfers', {
      body: { ...between, device_name: 'dax9.9' },
    });
    expect(lost.status).toBe(502);
    expect(lost.body).toMatchObject({
      code: 'peer_refused',
      transfer: { status: 'failed', consistency: 'unchanged' },
    });
    const outside = await fleet.ask('POST', '/transfers', { body: { ...between, size: 2 ** 21 } });
    expect(outside).toMatchObject({ status: 422, body: { code: 'out_of_range' } });
  });

  test.each([
    [
      'a fill',
      { operation: 'fill', src_offset: undefined, dst_device_name: undefined },
      '/operation',
    ],
    ['an engine', { engine: 'cpu' }, '/engine'],
    ['verify', { verify: 'crc32c' }, '/verify'],
    ['no durability', { durability: 'none' }, '/durability'],
    [
      'segments',
      {
        ...{ src_offset: undefined, dst_offset: undefined, size: undefined },
        segments: [{ src_offset: 0, dst_offset: 0, size: 1 }],
      },
      '/segments',
    ],
    ['blocks of 3 bytes', { block_size: 3 }, '/block_size'],
    ['another mode', { mode: 'half' }, '/mode'],
    ['the same host, with blocks', { dst_host: 'host0' }, '/block_size'],
  ])('with dst_host, %s is refused', async (_what, more, pointer) => {
    const { status, body } = await fleet.ask('POST', '/transfers', {
      body: { ...between, ...more },
    });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  });

  test('a dry run checks devices and ranges, and copies nothing', async () => {
    const plan = (more: object = {}) =>
      fleet.ask('POST', '/transfers', { body: { ...between, ...more, dry_run: true } });
    const { src_offset, dst_offset, size } = between;
    expect(await plan({ verify: 'none', durability: 'flush' })).toMatchObject({
      status: 200,
      body: {
        dry_run: true,
        engine: null,
        bytes: size,
        segments: [{ src_offset, dst_offset, size }],
      },
    });
    for (const [more, code, pointer] of [
      [{ device_name: 'dax9.9' }, 'unknown_device', '/device_name'],
      [{ dst_device_name: 'dax9.9' }, 'unknown_device', '/dst_device_name'],
      [{ src_offset: 2 ** 20 }, 'out_of_range', '/src_offset'],
      [{ dst_offset: 2 ** 20 - 4096 }, 'out_of_range', '/size'],
    ] as const) {
      const { status, body } = await plan(more);
      expect([status, body.code, body.errors[0].pointer]).toEqual([422, code, pointer]);
    }
  });

  test('a dst_host that is none is unknown', async () => {
    const body = { ...between, dst_host: 'nowhere' };
    expect(await fleet.ask('POST', '/transfers', { body })).toMatchObject({
      ...{ status: 422, body: { code: 'unknown_host', errors: [{ pointer: '/dst_host' }] } },
    });
  });

  test('it is followed, changed and cancelled by any gateway', async () => {
    await put(0, 'dax2.0', randomBytes(2 ** 20));
    const slow = {
      ...{ ...between, device_name: 'dax2.0', dst_device_name: 'dax2.0', size: 2 ** 20 },
      ...{ mode: 'full', bytes_per_second: KIB64 },
    };
    const { status, body } = await fleet.ask('POST', '/transfers', { body: slow, headers: ASYNC });
    expect(status).toBe(202);
    const events: { status: string; bytes_completed: number }[] = [];
    const client = fleet.client(fleet.urls[1]);
    let changed = false;
    for await (const { transfer } of client.watch(body.id)) {
      events.push(transfer);
      if (changed || transfer.status !== 'running') continue;
      changed = true;
      const patched = await fleet.ask('PATCH', `/transfers/${body.id}`, {
        body: { labels: { seen: 'yes' }, bytes_per_second: 2 * KIB64 },
        headers: { 'content-type': 'application/merge-patch+json' },
        gateway: 1,
      });
      expect(patched).toMatchObject({
        ...{ status: 200, body: { labels: { seen: 'yes' }, bytes_per_second: 2 * KIB64 } },
      });
      await fleet.ask('POST', `/transfers/${body.id}/cancel`, { gateway: 1 });
    }
    expect(events.map((each) => each.status)).toContain('running');
    expect(events.at(-1)?.status).toBe('cancelled');
    expect(await ended(body.id)).toMatchObject({ status: 'cancelled', labels: { seen: 'yes' } });
  }, 60_000);

  test('it waits for a host that is away, and goes on when that is back', async () => {
    await fleet.hosts[1]?.daemon.stop('SIGKILL');
    const bytes = randomBytes(between.size);
    await put(0, 'dax0.0', bytes);
    const headers = { ...ASYNC, 'idempotency-key': 'away' };
    const { body } = await fleet.ask('POST', '/transfers', { body: between, headers });
    expect(body).toMatchObject({ status: 'accepted', consistency: 'unchanged' });
    await fleet.startHost(1);
    expect(await ended(body.id, 1)).toMatchObject({ status: 'succeeded' });
    expect(await get(1, 'dax1.0', KIB64, between.size)).toEqual(bytes);
  }, 60_000);

  test('dmactl copies from one host to another', async () => {
    const { run, one, start } = dmactlFor({ DMAD_URL: fleet.urls[0] as string });
    const copied = await run('copy', 'host0/dax0.0:0+64KiB', 'host1/dax0.0:0');
    expect(String(copied.stdout)).toMatch(
      /^copy of 64\.0 KiB host0\/dax0\.0:0 to host1\/dax0\.0:0: succeeded/,
    );
    const listed = await run('transfers', '--device', 'host1/dax0.0', '--limit', '1');
    expect(String(listed.stdout)).toContain('host0/dax0.0 host1/dax0.0');
    // As the schema of --json has it.
    const again = await one('copy', 'host0/dax0.0:0+64KiB', 'host1/dax0.0:64KiB');
    expect(again.document.transfer).toMatchObject({ status: 'succeeded', engine: null });
    const plan = await one('copy', 'host0/dax0.0:0+64KiB', 'host1/dax0.0:0', '--dry-run');
    expect(plan.document.plan).toMatchObject({ engine: null, bytes: KIB64 });
    const top = start('top', '--json');
    const [line] = await once(top.child.stdout as Readable, 'data');
    top.child.kill('SIGINT');
    expect(JSON.parse(String(line).split('\n')[0] ?? '')).toMatchObject({ engines: null });
    await top.ended;
  });
});
