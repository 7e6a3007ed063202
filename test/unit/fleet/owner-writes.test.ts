// SPDX-License-Identifier: Apache-2.0

import { beforeEach, describe, expect, test } from '@jest/globals';
import { GroupCommit } from '../../../services/fleet/etcd/group-commit.ts';
import { Acceptor } from '../../../services/fleet/transfers/acceptance.ts';
import { endByFleet } from '../../../services/fleet/transfers/document.ts';
import { OwnerWrites } from '../../../services/fleet/transfers/owner-writes.ts';
import {
  type RunningRecord,
  readEnded,
  readRunning,
} from '../../../services/fleet/transfers/record.ts';
import { settingsOf, writeSettings } from '../../../services/fleet/transfers/settings.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { FakeEtcd, type Fate } from '../../support/fake-etcd.ts';
import { keys, recordOf } from '../../support/fleet-records.ts';

describe("an owner's writes", () => {
  let etcd: FakeEtcd;
  let acceptor: Acceptor;
  let writes: OwnerWrites;
  beforeEach(async () => {
    etcd = new FakeEtcd();
    await etcd.write(
      [],
      [
        { put: keys.host('hosta'), value: '{}' },
        { put: keys.owner('hosta'), value: 'me' },
      ],
    );
    acceptor = new Acceptor(etcd, keys, new GroupCommit(etcd));
    writes = new OwnerWrites({
      store: etcd,
      keys,
      commit: new GroupCommit(etcd),
      member: () => 'me',
    });
  });

  const endOf = (record: RunningRecord, code: 'cancelled' | 'expired' | 'interrupted') =>
    endByFleet(record, {}, code === 'expired' ? 'failed' : code, new Problem(code, code));
  const codeOf = (id: string) =>
    readEnded(etcd.rows.get(keys.ended(id))?.value ?? '')?.document.error?.code;

  test('a refused end that is written again leaves the key to the transfer that has it by then', async () => {
    const first = recordOf({}, { usedKey: 'k' });
    await acceptor.accept(first);
    const fates: Fate[] = ['lost'];
    etcd.fate = () => fates.shift() ?? 'done';
    const refused = { ...endOf(first, 'expired'), refused: true };
    const ended = writes.ended(first, refused);
    while (!etcd.rows.has(keys.ended(first.id))) await new Promise(setImmediate);
    const second = recordOf({}, { usedKey: 'k' });
    await acceptor.accept(second);
    expect(await ended).toBe(true);
    expect(etcd.rows.has(keys.used('me', 'k'))).toBe(true);
    expect(await acceptor.accept(recordOf({}, { usedKey: 'k' }))).toEqual({
      ...{ id: second.id, replayed: true },
    });
  });

  test('an end that stands is not overwritten', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    expect(await writes.ended(record, endOf(record, 'expired'))).toBe(true);
    expect(await writes.ended(record, endOf(record, 'cancelled'))).toBe(true);
    expect(codeOf(record.id)).toBe('expired');
  });

  test.each([
    ['ended', 'before', 'expired'],
    ['ended', 'meanwhile', 'expired'],
    ['abandoned', 'before', 'interrupted'],
    ['abandoned', 'meanwhile', 'interrupted'],
  ] as const)(
    'what was changed of a transfer stays changed: %s, changed %s',
    async (how, when, code) => {
      const record = recordOf({ labels: { kept: 'x' }, priority: 'low' });
      await acceptor.accept(record);
      const settings = { ...settingsOf(record.request), labels: { kept: 'y' }, timeout_ms: 5 };
      const change = () => {
        etcd.rows.set(keys.change(record.id), {
          ...{
            key: keys.change(record.id),
            value: writeSettings({ ...settings, priority: 'high' }),
          },
          ...{ created: 1, lease: undefined },
        });
      };
      if (how === 'abandoned') await etcd.write([], [{ delete: keys.host('hosta') }]);
      if (when === 'before') change();
      let attempts = 0;
      etcd.fate = () => {
        if (when === 'meanwhile' && attempts++ === 0) change();
        return 'done';
      };
      expect(await writes[how](record, endOf(record, code))).toBe(true);
      const { labels, timeout_ms, priority } =
        readEnded(etcd.rows.get(keys.ended(record.id))?.value ?? '')?.document ?? {};
      expect({ labels, timeout_ms, priority }).toEqual({
        ...{ labels: { kept: 'y' }, timeout_ms: 5, priority: 'low' },
      });
      expect(etcd.rows.has(keys.change(record.id))).toBe(false);
    },
  );

  test('an end is written though a change that stood in its way is gone when it is looked for', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    const key = keys.change(record.id);
    const value = writeSettings(settingsOf(record.request));
    etcd.rows.set(key, { key, value, created: 1, lease: undefined });
    const read = etcd.read.bind(etcd);
    etcd.read = (ranges) => {
      etcd.rows.delete(key);
      return read(ranges);
    };
    expect(await writes.ended(record, endOf(record, 'expired'))).toBe(true);
    expect(codeOf(record.id)).toBe('expired');
  });

  test('once a host has what was changed, the next change goes to the host', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    const settings = { ...settingsOf(record.request), labels: { first: 'change' } };
    const change = { put: keys.change(record.id), value: writeSettings(settings) };
    await etcd.write([], [change]);
    const handedOver: RunningRecord = { ...record, progress: { is: 'handed_over', hostId: 'h' } };
    await writes.changed(handedOver, settings);
    expect(etcd.rows.has(keys.change(record.id))).toBe(false);
    // One that waits in etcd would begin with what the transfer was accepted with.
    const row = etcd.rows.get(keys.transfer(record.id))?.value ?? '';
    expect(readRunning(row)?.progress).toEqual(handedOver.progress);
  });

  test('a change that its host has received does not bring back what has ended', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    const settings = { ...settingsOf(record.request), labels: { first: 'change' } };
    await writes.ended(record, endOf(record, 'expired'));
    await etcd.write([], [{ put: keys.change(record.id), value: writeSettings(settings) }]);
    await writes.changed(record, settings);
    expect(etcd.rows.has(keys.transfer(record.id))).toBe(false);
  });

  test('an end that comes after its host was removed leaves the transfer interrupted', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    await etcd.write([], [{ delete: keys.host('hosta') }]);
    expect(await writes.abandoned(record, endOf(record, 'interrupted'))).toBe(true);
    await writes.ended(record, endOf(record, 'expired'));
    expect(codeOf(record.id)).toBe('interrupted');
  });

  test('an end is written though etcd has lost the lease that it was to hang on', async () => {
    const records = [recordOf(), recordOf()];
    for (const record of records) {
      await acceptor.accept(record);
      expect(await writes.ended(record, endOf(record, 'expired'))).toBe(true);
      expect(codeOf(record.id)).toBe('expired');
      await etcd.expireLeases();
    }
  });

  test('a gateway that does not own the host gets an error, and writes nothing', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    await etcd.write([], [{ put: keys.owner('hosta'), value: 'other' }]);
    expect(await writes.ended(record, endOf(record, 'expired'))).toBe(false);
    expect(codeOf(record.id)).toBeUndefined();
    expect(etcd.rows.has(keys.transfer(record.id))).toBe(true);
  });
});
