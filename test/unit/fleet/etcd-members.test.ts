// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { EtcdStore } from '../../../services/fleet/etcd/etcd-store.ts';
import { EtcdMember } from '../../support/etcd-member.ts';

describe('an etcd of three members', () => {
  let members: EtcdMember[];
  let store: EtcdStore;
  beforeEach(async () => {
    members = await Promise.all([1, 2, 3].map(() => EtcdMember.start()));
    store = new EtcdStore({ urls: members.map(({ url }) => url) });
  });
  afterEach(() => {
    store.close();
    for (const member of members) member.stop();
  });

  /** The member that is asked now. */
  async function asked(): Promise<EtcdMember> {
    for (const member of members) member.calls.length = 0;
    await store.write([], [{ put: 'a', value: '1' }]);
    return members.find(({ calls }) => calls.length > 0) as EtcdMember;
  }

  test('whose member hangs keeps a lease, and writes, in time', async () => {
    const hanging = await asked();
    hanging.hangs = true;
    const since = performance.now();
    expect(await store.keepLease('7')).toBe(true);
    expect(await store.write([], [{ put: 'a', value: '1' }])).toEqual({ held: true, revision: 5 });
    expect(performance.now() - since).toBeLessThan(2500);
    hanging.calls.length = 0;
    for (let count = 0; count < 20; count++) {
      await store.keepLease('7');
      await store.write([], [{ put: 'a', value: '1' }]);
    }
    expect(hanging.calls).toEqual([]);
  });

  test('whose member hangs takes an urgent write in time, and leaves others to who asks', async () => {
    const hanging = await asked();
    hanging.hangs = true;
    const since = performance.now();
    await store.write([], [{ put: 'a', value: '1' }], { urgent: true });
    expect(performance.now() - since).toBeLessThan(2500);
    const next = await asked();
    next.hangs = true;
    const write = store.write([], [{ put: 'a', value: '1' }]);
    await expect(write).rejects.toMatchObject({ failure: 'unknown' });
    expect(await store.grantLease(4)).toBe('7');
  }, 15_000);

  test('whose member is gone writes at another one', async () => {
    (await asked()).stop();
    // The connection is found to be closed.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await expect(store.write([], [{ put: 'a', value: '1' }])).resolves.toMatchObject({
      held: true,
    });
  });
});
