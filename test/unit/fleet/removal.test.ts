// SPDX-License-Identifier: Apache-2.0

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import { GroupCommit } from '../../../services/fleet/etcd/group-commit.ts';
import { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { removeIdleHost } from '../../../services/fleet/hosts/removal.ts';
import { Acceptor } from '../../../services/fleet/transfers/acceptance.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { keys, recordOf } from '../../support/fleet-records.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('removing a host', () => {
  let etcd: FakeEtcd;
  let mirror: Mirror;
  let acceptor: Acceptor;
  let lagMs: number;
  const remove = () => removeIdleHost({ store: etcd, keys, mirror }, 'hosta');
  const isThere = () => etcd.rows.has(keys.host('hosta'));

  beforeEach(async () => {
    etcd = new FakeEtcd();
    lagMs = 0;
    await etcd.write([], [{ put: keys.host('hosta'), value: '{"url": "http://127.0.0.1:1"}' }]);
    const watch = etcd.watch.bind(etcd);
    etcd.watch = (range, from, listener) =>
      watch(range, from, {
        ...{ lost: listener.lost },
        changed: (changes, at) => setTimeout(() => listener.changed(changes, at), lagMs).unref(),
      });
    mirror = new Mirror({ store: etcd, keys, log: silentLog().logger, awaited: () => [] });
    acceptor = new Acceptor(etcd, keys, new GroupCommit(etcd));
    mirror.expect(1);
    while (!mirror.current) await pause(5);
  });
  afterEach(() => mirror.close());

  test('removes one that is idle, and leaves no mark', async () => {
    await remove();
    await pause(10);
    expect([...etcd.rows.keys()]).toEqual([]);
    await expect(acceptor.accept(recordOf())).rejects.toMatchObject({ code: 'unknown_host' });
  });

  test('what was accepted a moment before keeps it, though the watch has not told of it', async () => {
    lagMs = 100;
    await acceptor.accept(recordOf());
    await expect(remove()).rejects.toMatchObject({ code: 'host_in_use' });
    await pause(10);
    expect(isThere()).toBe(true);
    expect((await acceptor.accept(recordOf())).replayed).toBe(false);
  });

  test('what is accepted at the same time is either refused, or keeps the host', async () => {
    for (let run = 0; run < 50; run++) {
      await etcd.write([], [{ put: keys.host('hosta'), value: '{"url": "http://127.0.0.1:1"}' }]);
      lagMs = run % 5;
      etcd.delay = () => Math.floor(Math.random() * 4);
      const records = Array.from({ length: 5 }, () => recordOf());
      const [removed, ...accepted] = await Promise.allSettled([
        remove(),
        ...records.map((record) => acceptor.accept(record)),
      ]);
      const took = accepted.some(({ status }) => status === 'fulfilled');
      expect(isThere()).toBe(removed.status === 'rejected');
      if (removed.status === 'fulfilled') expect(took).toBe(false);
      for (const each of accepted) {
        if (each.status === 'rejected') {
          expect(['unknown_host', 'host_unreachable']).toContain(each.reason.code);
        }
      }
      await etcd.write(
        [],
        records.flatMap(({ id }) => [
          { delete: keys.transfer(id) },
          { put: keys.ended(id), value: '{}' },
        ]),
      );
      while (mirror.running.size > 0) await pause(2);
    }
  });

  test('a watch that does not follow refuses the removal', async () => {
    lagMs = 60_000;
    await expect(remove()).rejects.toMatchObject({ code: 'etcd_unavailable' });
    expect(isThere()).toBe(true);
  }, 20_000);
});
