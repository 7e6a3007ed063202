// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import type { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { EtcdError } from '../../../services/fleet/etcd/store.ts';
import { endByFleet, runningDocument } from '../../../services/fleet/transfers/document.ts';
import { Lister } from '../../../services/fleet/transfers/list.ts';
import { writeEnded, writeRunning } from '../../../services/fleet/transfers/record.ts';
import { fleetListQuerySchema } from '../../../services/fleet/transfers/schema.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { ids, keys, recordOf } from '../../support/fleet-records.ts';

const me = { name: 'me', scopes: new Set(['transfers:read']) } as unknown as Parameters<
  Lister['list']
>[1];

function listerOf(store: FakeEtcd, reachable = () => true): Lister {
  return new Lister({
    ...{ store, keys, mirror: {} as Mirror, reachable },
    viewOf: ({ record }) => ({
      owner: record.client,
      document: runningDocument(record, { live: undefined, hostAway: undefined }),
      ended: undefined,
      running: undefined,
    }),
  });
}

describe('a list', () => {
  const large = () =>
    recordOf({
      ...{ src_offset: undefined, dst_offset: undefined, size: undefined },
      segments: Array.from({ length: 4096 }, (_, index) => ({
        ...{ src_offset: index * 64, dst_offset: 2 ** 30 + index * 64, size: 64 },
      })),
    });

  test('ends a page early if its transfers are large, and asks for fewer if etcd takes too long', async () => {
    const etcd = new FakeEtcd();
    const records = Array.from({ length: 40 }, large);
    for (const record of records) {
      await etcd.write([], [{ put: keys.transfer(record.id), value: writeRunning(record) }]);
    }
    const read = etcd.read.bind(etcd);
    etcd.read = (ranges) => {
      if (ranges.some(({ limit = 0 }) => limit > 25)) {
        throw new EtcdError('unknown', 'deadline exceeded');
      }
      return read(ranges);
    };
    const lister = listerOf(etcd);
    const seen: string[] = [];
    let token = '';
    do {
      const query = { page_size: '1000', ...(token && { page_token: token }) };
      const { transfers, nextPageToken } = await lister.list(fleetListQuerySchema.parse(query), me);
      expect(transfers.length).toBeLessThanOrEqual(16);
      seen.push(...transfers.map(({ id }) => id));
      token = nextPageToken;
    } while (token !== '');
    expect(seen).toEqual(records.map(({ id }) => id).reverse());
  });

  test('is refused at once if etcd is found to be away meanwhile', async () => {
    const etcd = new FakeEtcd();
    let reads = 0;
    etcd.read = () => {
      reads++;
      return Promise.reject(new EtcdError('unknown', 'deadline exceeded'));
    };
    const lister = listerOf(etcd, () => reads === 0);
    const list = lister.list(fleetListQuerySchema.parse({}), me);
    await expect(list).rejects.toMatchObject({ code: 'etcd_unavailable' });
    expect(reads).toBe(1);
  });

  test('goes past any number of rows that another version wrote', async () => {
    const etcd = new FakeEtcd();
    const record = recordOf();
    const end = endByFleet(record, {}, 'failed', new Problem('expired', 'late'));
    await etcd.write([], [{ put: keys.ended(record.id), value: writeEnded(end) }]);
    const foreign = Array.from({ length: 350 }, () => ids.next());
    await etcd.write(
      [],
      foreign.map((id) => ({ put: keys.ended(id), value: '{"format": 2}' })),
    );
    let reads = 0;
    const read = etcd.read.bind(etcd);
    etcd.read = (ranges) => {
      if (reads++ > 20) throw new Error('it reads the same again and again');
      return read(ranges);
    };
    const query = fleetListQuerySchema.parse({ page_size: '10' });
    const page = await listerOf(etcd).list(query, me);
    expect(page.transfers.map(({ id }) => id)).toEqual([record.id]);
    expect(page.nextPageToken).toBe('');
  });
});
