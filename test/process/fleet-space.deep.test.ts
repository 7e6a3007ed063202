// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AlarmAction, AlarmType, Etcd3 } from 'etcd3';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';

const QUOTA = 4 * 2 ** 20;
const FILLER = 'x'.repeat(2 ** 17);
const COPY = {
  ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`an etcd that has no space left${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start({
      ...{ members: 1, etcd: ['--quota-backend-bytes', String(QUOTA)] },
    });
  }, 120_000);
  afterAll(() => fleet?.stop());

  const post = (gateway: number, key: string) =>
    fleet.ask('POST', '/transfers', {
      ...{ body: COPY, gateway, headers: { prefer: 'respond-async', 'idempotency-key': key } },
    });

  test('refuses what would have to be promised, breaks no promise, and goes on once it has space', async () => {
    const unblock = await fleet.block(0, 'dax1.0');
    const { status, body: waiting } = await post(0, 'before');
    expect(status).toBe(202);
    await fill();
    for (const gateway of [0, 1]) {
      await fleet.until(async () => {
        const { status, body } = await fleet.ask('GET', '/readyz', { gateway });
        return status === 503 && /no space left \(alarm NOSPACE\)/.test(body.waiting_for[0]);
      });
      const refused = await post(gateway, `full ${gateway}`);
      expect(refused).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
      expect(refused.body.detail).toMatch(/no space left/);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      const cancel = await fleet.ask('POST', `/transfers/${waiting.id}/cancel`, { gateway });
      expect(cancel).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
      // What is known can be read.
      const found = await fleet.ask('GET', `/transfers/${waiting.id}`, { gateway });
      expect(found).toMatchObject({ status: 200, body: { id: waiting.id } });
    }
    // It ends on its host meanwhile, which etcd cannot be told.
    unblock();
    const { url } = fleet.hosts[0] as { url: string };
    await fleet.until(async () => {
      const { transfers } = await fleet.client(url).listTransfers({});
      return transfers.length === 1 && transfers[0]?.status === 'succeeded';
    });
    await sleep(1000);
    await makeRoom();
    for (const gateway of [0, 1]) {
      await fleet.until(
        async () => (await fleet.ask('GET', '/readyz', { gateway })).status === 200,
      );
      const headers = { prefer: 'wait=20' };
      const ended = await fleet.ask('GET', `/transfers/${waiting.id}`, { gateway, headers });
      expect(ended.body).toMatchObject({ id: waiting.id, status: 'succeeded' });
      expect([200, 201, 202]).toContain((await post(gateway, `full ${gateway}`)).status);
    }
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', '/transfers');
      return body.transfers.every(({ status }: { status: string }) => status === 'succeeded');
    });
    const { transfers } = await fleet.client(url).listTransfers({});
    expect(transfers).toHaveLength(3);
  }, 120_000);

  async function fill(): Promise<void> {
    const etcd = new Etcd3({ hosts: fleet.etcd.urls });
    const put = (count: number) => etcd.put(`filler/${count}`).value(FILLER).exec();
    let error: Error | undefined;
    for (let count = 0; error === undefined; count++) {
      await put(count).catch((each: Error) => {
        error = each;
      });
    }
    expect(error.message).toMatch(/database space exceeded/);
    etcd.close();
  }

  /** What an administrator does. */
  async function makeRoom(): Promise<void> {
    const etcd = new Etcd3({ hosts: fleet.etcd.urls });
    const { header } = await etcd.delete().prefix('filler/').exec();
    await etcd.kv.compact({ revision: header.revision, physical: true });
    await etcd.maintenance.defragment();
    const alarm = AlarmType.Nospace;
    const { alarms } = await etcd.maintenance.alarm({ action: AlarmAction.Get, alarm });
    for (const { memberID } of alarms) {
      await etcd.maintenance.alarm({ action: AlarmAction.Deactivate, memberID, alarm });
    }
    etcd.close();
  }
});
