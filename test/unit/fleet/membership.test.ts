// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import { Membership } from '../../../services/fleet/etcd/membership.ts';
import { EtcdError, type EtcdFailure } from '../../../services/fleet/etcd/store.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { keys } from '../../support/fleet-records.ts';

describe('a gateway that etcd does not let in', () => {
  test.each([
    ['denied', 1, 1],
    ['unknown', 2, 10],
  ] as const)(
    'tries again, and seldom if it was refused: %s',
    async (failure: EtcdFailure, least, most) => {
      const etcd = new FakeEtcd();
      let attempts = 0;
      etcd.grantLease = async () => {
        attempts++;
        throw new EtcdError(failure, failure);
      };
      const membership = new Membership({
        ...{ store: etcd, keys, log: silentLog().logger },
        ...{ joined: () => {}, left: () => {}, beat: () => () => {} },
      });
      membership.start();
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await membership.close();
      expect(attempts).toBeGreaterThanOrEqual(least);
      expect(attempts).toBeLessThanOrEqual(most);
    },
  );
});
