// SPDX-License-Identifier: Apache-2.0
import { describe, expect, jest, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import type { Membership } from '../../../services/fleet/etcd/membership.ts';
import { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { Ownership } from '../../../services/fleet/transfers/ownership.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { keys } from '../../support/fleet-records.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('ownership', () => {
  test('a host is left to another gateway only once nothing is being sent', async () => {
    const { logger: log } = silentLog();
    const etcd = new FakeEtcd();
    const mirror = new Mirror({ store: etcd, keys, log, awaited: () => [] });
    const happened: string[] = [];
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const ownership = new Ownership({
      ...{ store: etcd, keys, mirror, log },
      membership: { member: { id: 'me', lease: '1' } } as Membership,
      gained: () => happened.push('gained'),
      finish: () => answered,
      lost: () => happened.push('lost'),
    });
    const now = jest.spyOn(performance, 'now');
    try {
      await etcd.write(
        [],
        [
          { put: keys.host('hosta'), value: JSON.stringify({ url: 'http://127.0.0.1:1' }) },
          { put: keys.owner('hosta'), value: 'me' },
          // So many that the host falls to one of them.
          ...Array.from({ length: 50 }, (_, index) => ({
            put: keys.gateway(`g${index}`),
            value: '{}',
          })),
        ],
      );
      mirror.expect(1);
      while (!mirror.current) await pause(5);
      ownership.gatewaysChanged();
      ownership.reconcile();
      expect(happened).toEqual(['gained']);
      now.mockReturnValue(performance.now() + 11_000);
      ownership.reconcile();
      await pause(50);
      ownership.reconcile();
      expect(etcd.rows.has(keys.owner('hosta'))).toBe(true);
      answer();
      for (let tries = 0; tries < 200 && etcd.rows.has(keys.owner('hosta')); tries++)
        await pause(5);
      expect(etcd.rows.has(keys.owner('hosta'))).toBe(false);
      // The mirror has not heard of it yet.
      ownership.reconcile();
      expect(happened).toEqual(['gained', 'lost']);
    } finally {
      now.mockRestore();
      ownership.close();
      mirror.close();
    }
  });
});
