// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import { Membership } from '../../../services/fleet/etcd/membership.ts';
import { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { keys } from '../../support/fleet-records.ts';

const HOST = JSON.stringify({ url: 'http://127.0.0.1:1' });

describe('what a gateway has in memory of etcd', () => {
  const { logger: log } = silentLog();
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  test('is that of etcd again after etcd was restored from a backup', async () => {
    const etcd = new FakeEtcd();
    const mirror = new Mirror({ store: etcd, keys, log, awaited: () => [] });
    const membership = new Membership({
      ...{ store: etcd, keys, log, joined: () => {}, left: () => {} },
      beat: () => mirror.expectation(),
    });
    closing.push(
      () => mirror.close(),
      () => membership.close(),
    );
    membership.start();
    const until = async (holds: () => boolean) => {
      for (let tries = 0; tries < 500 && !holds(); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(holds()).toBe(true);
    };
    await until(() => mirror.current);
    const restore = etcd.backUp();
    for (let count = 0; count < 20; count++) {
      await etcd.write([], [{ put: keys.host(`lost${count}`), value: HOST }]);
    }
    await until(() => mirror.hosts.size === 20);
    restore();
    await etcd.write([], [{ put: keys.host('new'), value: HOST }]);
    await until(() => mirror.hosts.has('new'));
    expect([...mirror.hosts.keys()]).toEqual(['new']);
  });
});
