// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';

const COPY = {
  ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`an etcd that was restored from a backup${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start({ members: 1 });
  }, 120_000);
  afterAll(() => fleet?.stop());

  test('is what gateways go by from then on, though its revisions are of the past', async () => {
    const post = (gateway: number) => fleet.ask('POST', '/transfers', { body: COPY, gateway });
    for (const gateway of [0, 1]) expect((await post(gateway)).status).toBe(201);
    await fleet.etcd.lose();
    for (const gateway of [0, 1]) {
      await fleet.until(async () => {
        const { body } = await fleet.ask('GET', '/hosts', { gateway });
        return body.hosts.length === 0;
      });
    }
    const { url } = fleet.hosts[0] as { url: string };
    expect((await fleet.ask('PUT', '/hosts/host0', { body: { url } })).status).toBe(201);
    for (const gateway of [0, 1]) {
      await fleet.until(async () => (await post(gateway)).status === 201);
    }
    const { body } = await fleet.ask('GET', '/transfers', { gateway: 1 });
    expect(body.transfers.length).toBeGreaterThanOrEqual(2);
  }, 120_000);
});
