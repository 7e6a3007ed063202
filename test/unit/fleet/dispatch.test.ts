// SPDX-License-Identifier: Apache-2.0

import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import type { DmadClient } from '../../../services/client/node.ts';
import { GroupCommit } from '../../../services/fleet/etcd/group-commit.ts';
import { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { EtcdError, type WatchListener } from '../../../services/fleet/etcd/store.ts';
import type { Fleet } from '../../../services/fleet/hosts/fleet.ts';
import { LiveTransfers, Strangers } from '../../../services/fleet/hosts/live.ts';
import { Dispatch } from '../../../services/fleet/transfers/dispatch.ts';
import { endByFleet } from '../../../services/fleet/transfers/document.ts';
import { Ends } from '../../../services/fleet/transfers/ends.ts';
import { Feed } from '../../../services/fleet/transfers/feed.ts';
import { OwnerWrites } from '../../../services/fleet/transfers/owner-writes.ts';
import {
  type RunningRecord,
  readEnded,
  writeEnded,
  writeRunning,
} from '../../../services/fleet/transfers/record.ts';
import type { HostReport } from '../../../services/fleet/transfers/schema.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { ids, keys, recordOf } from '../../support/fleet-records.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('what happens in etcd', () => {
  const { logger: log } = silentLog();
  let etcd: FakeEtcd;
  let mirror: Mirror;
  let dispatch: Dispatch;
  let ends: Ends;
  let feed: Feed;
  let live: LiveTransfers;
  let ran: string[];
  let signals: AbortSignal[];
  let answers: Promise<void>;
  /** The watch of the mirror: a test can make it deaf, and lose it. */
  let watch: WatchListener;
  let deaf: boolean;

  beforeEach(async () => {
    etcd = new FakeEtcd();
    ran = [];
    signals = [];
    deaf = false;
    answers = Promise.resolve();
    await etcd.write(
      [],
      [
        { put: keys.host('hosta'), value: JSON.stringify({ url: 'http://127.0.0.1:1' }) },
        { put: keys.owner('hosta'), value: 'me' },
      ],
    );
    const follow = etcd.watch.bind(etcd);
    etcd.watch = (range, from, listener) => {
      watch = listener;
      return follow(range, from, {
        ...{ lost: listener.lost },
        changed: (changes, at) => deaf || listener.changed(changes, at),
      });
    };
    const client = {
      createTransfer: async (
        _: object,
        options: { idempotencyKey: string; signal: AbortSignal },
      ) => {
        ran.push(options.idempotencyKey);
        signals.push(options.signal);
        await answers;
        return { id: ids.next(), status: 'running' };
      },
      cancelTransfer: async (id: string) => ({ id, status: 'cancelled' }),
    } as unknown as DmadClient;
    live = new LiveTransfers('hosta', new Strangers());
    const fleet = {
      ...{ live: () => live, link: () => ({ client }), hostChanged: () => {} },
      whyAway: () => undefined,
      handedOver: ({ id, progress }: RunningRecord) =>
        progress.is === 'handed_over' ? live.add(id, progress.hostId) : undefined,
      reported: ({ id }: RunningRecord, told: HostReport) => {
        if (!mirror.running.has(id)) return;
        live.add(id, told.id);
        live.reported(told);
      },
      forget: ({ id }: RunningRecord) => live.forget(id),
    } as unknown as Fleet;
    const writes = new OwnerWrites({
      store: etcd,
      keys,
      commit: new GroupCommit(etcd),
      member: () => 'me',
    });
    ends = new Ends();
    feed = new Feed();
    mirror = new Mirror({ store: etcd, keys, log, awaited: () => ends.ids });
    dispatch = new Dispatch({
      ...{ store: etcd, keys, mirror, fleet, writes, log, ends, feed },
      viewOf: () => {
        throw new Error('nobody watches');
      },
      ...{ ended: () => {}, seen: () => {} },
    });
    mirror.listener = dispatch;
    mirror.expect(1);
    while (!mirror.current) await pause(5);
    dispatch.gained('hosta');
  });
  afterEach(() => {
    dispatch.lost('hosta');
    mirror.close();
  });

  const codeOf = (id: string) =>
    readEnded(etcd.rows.get(keys.ended(id))?.value ?? '')?.document.error?.code;
  const accept = async (record = recordOf()) => {
    await etcd.write([], [{ put: keys.transfer(record.id), value: writeRunning(record) }]);
    return record;
  };
  async function until(holds: () => boolean): Promise<void> {
    for (let tries = 0; tries < 400 && !holds(); tries++) await pause(5);
    expect(holds()).toBe(true);
  }

  test('a transfer that was cancelled while the watch was lost does not run', async () => {
    deaf = true;
    const { id } = await accept();
    await etcd.write([], [{ put: keys.cancel(id), value: '{}' }]);
    await pause(20);
    deaf = false;
    watch.lost(new Error('compacted'));
    await until(() => codeOf(id) !== undefined);
    expect(codeOf(id)).toBe('cancelled');
    expect(ran).toEqual([]);
  });

  test('one that was accepted, and ended, while the watch was lost ends for those who wait for it', async () => {
    const record = recordOf();
    const coming = ids.next();
    const ended = new Promise((resolve) => ends.await(record.id, resolve));
    let endedTooSoon = false;
    // Not accepted yet: what nobody has heard of may come.
    ends.await(coming, () => {
      endedTooSoon = true;
    });
    const events: string[] = [];
    const unwatch = feed.watch(({ document }) => events.push(document.id));
    deaf = true;
    await accept(record);
    const end = endByFleet(record, {}, 'failed', new Problem('expired', 'late'));
    await etcd.write(
      [],
      [
        { delete: keys.transfer(record.id) },
        { put: keys.ended(record.id), value: writeEnded(end) },
      ],
    );
    await pause(20);
    deaf = false;
    watch.lost(new Error('compacted'));
    expect(await ended).toMatchObject(end);
    expect(events).toEqual([record.id]);
    expect(endedTooSoon).toBe(false);
    unwatch();
  });

  test('after a takeover, a cancellation waits for what the host says', async () => {
    deaf = true;
    const { id } = await accept();
    // Another gateway had the host in between.
    await etcd.write([], [{ delete: keys.owner('hosta') }]);
    await etcd.write([], [{ put: keys.owner('hosta'), value: 'me' }]);
    await etcd.write([], [{ put: keys.cancel(id), value: '{}' }]);
    await pause(20);
    deaf = false;
    dispatch.lost('hosta');
    watch.lost(new Error('compacted'));
    await until(() => mirror.current && mirror.cancels.has(id));
    dispatch.gained('hosta');
    await until(() => etcd.rows.has(keys.ended(id)));
    expect(ran).toEqual([id]);
  });

  test('large rows are read in smaller pages if etcd takes too long', async () => {
    for (let count = 0; count < 150; count++) await accept();
    const limits: (number | undefined)[] = [];
    const read = etcd.read.bind(etcd);
    etcd.read = (ranges) => {
      const [range] = ranges;
      limits.push(range?.limit);
      if ((range?.limit ?? 0) > 50) throw new EtcdError('unknown', 'deadline exceeded');
      return read(ranges);
    };
    watch.lost(new Error('compacted'));
    await until(() => mirror.current);
    expect(mirror.running.size).toBe(150);
    expect(limits).toContain(50);
  });

  test('those that wait for others leave nothing behind', async () => {
    const [first, second] = [await accept(), await accept()];
    await until(() => ran.length === 2);
    const [signal] = signals as [AbortSignal];
    const before = getEventListeners(signal, 'abort').length;
    const third = await accept(recordOf({}, { waitsFor: [first.id, second.id] }));
    for (const { id } of [first, second]) {
      await etcd.write(
        [],
        [{ delete: keys.transfer(id) }, { put: keys.ended(id), value: endedText(id) }],
      );
    }
    await until(() => ran.includes(third.id));
    await pause(20);
    expect(getEventListeners(signal, 'abort').length).toBe(before);
  });

  test('an answer that comes after the end is not remembered', async () => {
    let answer = () => {};
    answers = new Promise((resolve) => {
      answer = resolve;
    });
    const { id } = await accept();
    await until(() => ran.length === 1);
    await etcd.write(
      [],
      [{ delete: keys.transfer(id) }, { put: keys.ended(id), value: endedText(id) }],
    );
    await until(() => !mirror.running.has(id));
    answer();
    await pause(20);
    expect(live.size).toBe(0);
  });

  const endedText = (id: string) =>
    JSON.stringify({
      ...{ format: 1, id, client: 'me', host: 'hosta', refused: false },
      document: { id, status: 'succeeded' },
    });
});

test("transfers that are not the fleet's are forgotten, whatever host they are on", () => {
  const strangers = new Strangers();
  const told = { id: 'x', status: 'running' } as HostReport;
  for (let host = 0; host < 20; host++) {
    const live = new LiveTransfers(`host${host}`, strangers);
    for (let index = 0; index < 1000; index++) live.reported({ ...told, id: `${index}` });
  }
  expect(strangers.size).toBe(10_000);
  expect(strangers.take('host19', '999')).toMatchObject({ id: '999' });
  expect(strangers.take('host0', '999')).toBeUndefined();
});
