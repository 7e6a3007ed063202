// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';

const copy = {
  ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};
const fill = (offset: number, pattern: string, more: object = {}) => ({
  ...{ host: 'host0', operation: 'fill', device_name: 'dax0.0', dst_offset: offset, size: 1 },
  ...{ pattern, ...more },
});
const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`batches and changes in a fleet${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start({ hosts: 2 });
  }, 120_000);
  afterAll(() => fleet?.stop());

  const batch = (transfers: object[], headers: Record<string, string> = {}, gateway = 0) =>
    fleet.ask('POST', '/transfers/batch', { body: { transfers }, headers, gateway });
  const patch = (id: string, body: object, gateway = 0) =>
    fleet.ask('PATCH', `/transfers/${id}`, {
      ...{ body, gateway, headers: { 'content-type': 'application/merge-patch+json' } },
    });
  const ended = async (id: string) => {
    const { body } = await fleet.ask('GET', `/transfers/${id}`, { headers: { prefer: 'wait=60' } });
    return body;
  };
  const read = async (host: number, offset: number, size: number) => {
    const url = `${fleet.hosts[host]?.url}/devices/dax0.0/content`;
    const headers = { range: `bytes=${offset}-${offset + size - 1}` };
    return Buffer.from(await (await fetch(url, { headers })).arrayBuffer());
  };

  test('a thousand are accepted at once, with their keys, and sent again are the same', async () => {
    const transfers = Array.from({ length: 1000 }, (_, index) =>
      fill(index, (index % 256).toString(16).padStart(2, '0'), {
        ...{ idempotency_key: `one of many ${index}`, host: index % 2 ? 'host1' : 'host0' },
      }),
    );
    const [first, second] = await Promise.all([batch(transfers, {}, 0), batch(transfers, {}, 1)]);
    expect([first?.status, second?.status]).toEqual([202, 202]);
    const ids = first?.body.transfers.map(({ id }: { id: string }) => id);
    expect(second?.body.transfers.map(({ id }: { id: string }) => id)).toEqual(ids);
    expect(new Set(ids).size).toBe(1000);
    expect([...ids].sort()).toEqual(ids);
    for (const id of ids.slice(-2)) expect((await ended(id)).status).toBe('succeeded');
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', '/transfers?status=succeeded&page_size=1000');
      const succeeded = new Set(body.transfers.map(({ id }: { id: string }) => id));
      return ids.every((id: string) => succeeded.has(id));
    });
    const bytes = [await read(0, 0, 1000), await read(1, 0, 1000)];
    for (let index = 0; index < 1000; index++) {
      expect(bytes[index % 2]?.[index]).toBe(index % 256);
    }
    const again = await batch(transfers, { prefer: 'return=minimal' }, 1);
    expect(again.body).toEqual({ transfers: ids });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.headers.get('preference-applied')).toBe('return=minimal');
    // One of its keys, alone.
    const { idempotency_key: key, ...alone } = transfers[7] as ReturnType<typeof fill> & {
      idempotency_key: string;
    };
    const headers = { 'idempotency-key': key };
    const replay = await fleet.ask('POST', '/transfers', { body: alone, headers });
    expect([replay.status, replay.body.id]).toEqual([200, ids[7]]);
  }, 120_000);

  test('all are accepted or none, and the problem says which one is wrong', async () => {
    const used = { 'idempotency-key': 'taken' };
    await fleet.ask('POST', '/transfers', { body: copy, headers: used });
    const free = fill(0, '11', { idempotency_key: 'free' });
    for (const [wrong, status, code, pointer] of [
      [{ ...copy, host: 'nowhere' }, 422, 'unknown_host', '/transfers/1/host'],
      [{ ...copy, size: 0 }, 400, 'invalid_request', '/transfers/1/size'],
      [{ ...copy, depends_on: ['#1'] }, 422, 'unknown_transfer', '/transfers/1/depends_on/0'],
      [
        { ...copy, size: 1, idempotency_key: 'taken' },
        ...([422, 'idempotency_key_reused', '/transfers/1/idempotency_key'] as const),
      ],
    ] as const) {
      const answer = await batch([free, wrong]);
      expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([
        ...[status, code, pointer],
      ]);
    }
    const headers = { 'idempotency-key': 'free' };
    const other = await fleet.ask('POST', '/transfers', { body: copy, headers });
    expect(other.status).toBe(201);
    expect((await batch([copy], { 'idempotency-key': 'x' })).status).toBe(400);
    expect((await batch([])).status).toBe(400);
  });

  test('one behind another, on another host, and the same key twice', async () => {
    const { status, body } = await batch([
      fill(0, '21', { size: 4096, idempotency_key: 'twice' }),
      {
        ...{ host: 'host0', dst_host: 'host1', device_name: 'dax0.0', src_offset: 0 },
        ...{ dst_offset: 8192, size: 4096, depends_on: ['#0'] },
      },
      fill(0, '22', { host: 'host1', depends_on: ['#1'], size: 4096 }),
      fill(0, '21', { size: 4096, idempotency_key: 'twice' }),
    ]);
    expect(status).toBe(202);
    const ids = body.transfers.map(({ id }: { id: string }) => id);
    expect(ids[3]).toBe(ids[0]);
    expect(body.transfers[1].depends_on).toEqual([ids[0]]);
    for (const id of ids) expect((await ended(id)).status).toBe('succeeded');
    expect(await read(1, 8192, 4096)).toEqual(Buffer.alloc(4096, 0x21));
    expect(await read(1, 0, 4096)).toEqual(Buffer.alloc(4096, 0x22));
  });

  test('a dry run of a batch has a plan for each', async () => {
    const { status, body } = await batch([
      { ...copy, dry_run: true },
      { ...copy, host: 'host1', dry_run: true, depends_on: ['#0'] },
    ]);
    expect([status, body.transfers.length]).toEqual([200, 2]);
    const outside = await batch([{ ...copy, dry_run: true, size: 2 ** 30 }]);
    expect(outside.body.errors[0].pointer).toMatch(/^\/transfers\/0\//);
  });

  test('what is queued on its host is changed there, and what has finished is not', async () => {
    const release = await fleet.block(0, 'dax1.0');
    const headers = { prefer: 'wait=1' };
    const { body } = await fleet.ask('POST', '/transfers', { body: copy, headers });
    expect(body.status).toBe('queued');
    const changed = await patch(body.id, { priority: 'high', labels: { a: 'b' } }, 1);
    expect(changed).toMatchObject({
      ...{ status: 200, body: { id: body.id, priority: 'high', labels: { a: 'b' } } },
    });
    release();
    expect(await ended(body.id)).toMatchObject({ status: 'succeeded', labels: { a: 'b' } });
    const over = await patch(body.id, { labels: { a: null } });
    expect(over).toMatchObject({
      ...{ status: 409, body: { code: 'not_changeable', transfer: { id: body.id } } },
    });
    for (const [wrong, status] of [
      [{ size: 1 }, 400],
      [{ priority: 'x' }, 400],
    ] as const) {
      expect((await patch(body.id, wrong)).status).toBe(status);
    }
    expect((await patch('x', {})).status).toBe(404);
  });

  test('what is cancelled while its host is away and its owner changes never runs', async () => {
    const before = await read(1, 2 ** 19, 4096);
    await fleet.hosts[1]?.daemon.stop('SIGKILL');
    const { body } = await fleet.ask('POST', '/transfers', {
      body: fill(2 ** 19, '5a', { host: 'host1', size: 4096 }),
      headers: { prefer: 'respond-async' },
    });
    // Whoever owns the host by then cannot know whether it was handed over.
    await Promise.all(fleet.gateways.map((gateway) => gateway.stop('SIGKILL')));
    await Promise.all([fleet.startGateway(0), fleet.startGateway(1)]);
    const cancelling = fleet.ask('POST', `/transfers/${body.id}/cancel`, { gateway: 1 });
    await fleet.until(async () => {
      const { body: seen } = await fleet.ask('GET', `/transfers/${body.id}`);
      return seen.status === 'accepted' && seen.waiting_for.why !== undefined;
    });
    await fleet.startHost(1);
    expect(await ended(body.id)).toMatchObject({
      ...{ status: 'cancelled', bytes_completed: 0, error: { code: 'cancelled' } },
    });
    expect((await cancelling).body).toMatchObject({ status: 'cancelled' });
    expect(await read(1, 2 ** 19, 4096)).toEqual(before);
    // The host refuses what may still have been on its way.
    const client = fleet.client(fleet.hosts[1]?.url);
    const late = client.createTransfer(
      { operation: 'fill', device_name: 'dax0.0', dst_offset: 2 ** 19, size: 4096, pattern: '5a' },
      { idempotencyKey: body.id },
    );
    await expect(late).rejects.toMatchObject({ code: 'idempotency_key_reused' });
  }, 60_000);

  test('what its host does not have yet is changed as soon as it does', async () => {
    await fleet.hosts[1]?.daemon.stop('SIGKILL');
    const { body } = await fleet.ask('POST', '/transfers', {
      body: { ...copy, host: 'host1', labels: { old: 'x', kept: 'y' }, priority: 'low' },
      headers: { prefer: 'respond-async' },
    });
    const first = await patch(body.id, { labels: { old: null, new: 'z' }, timeout_ms: 600_000 });
    expect(first).toMatchObject({ status: 200, body: { status: 'accepted', priority: 'low' } });
    const labels = { kept: 'y', new: 'z' };
    await patch(body.id, { priority: 'high' }, 1);
    const settings = { priority: 'high', timeout_ms: 600_000, labels };
    await fleet.until(async () => {
      const { body: seen } = await fleet.ask('GET', `/transfers/${body.id}`);
      return seen.priority === 'high';
    });
    expect((await fleet.ask('GET', `/transfers/${body.id}`)).body).toMatchObject(settings);
    expect((await patch(body.id, { bytes_per_second: 1 })).status).toBe(400);
    await fleet.startHost(1);
    // Its priority stays if it ran at once.
    const end = await ended(body.id);
    expect(end).toMatchObject({ status: 'succeeded' });
  }, 60_000);
});
