// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, test } from '@jest/globals';
import { Acceptor } from '../../../services/fleet/transfers/acceptance.ts';
import { endByFleet } from '../../../services/fleet/transfers/document.ts';
import { OwnerWrites } from '../../../services/fleet/transfers/owner-writes.ts';
import { type RunningRecord, readEnded } from '../../../services/fleet/transfers/record.ts';
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
    acceptor = new Acceptor(etcd, keys);
    writes = new OwnerWrites({ store: etcd, keys, member: () => 'me' });
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

  test('a gateway that does not own the host is told so, and writes nothing', async () => {
    const record = recordOf();
    await acceptor.accept(record);
    await etcd.write([], [{ put: keys.owner('hosta'), value: 'other' }]);
    expect(await writes.ended(record, endOf(record, 'expired'))).toBe(false);
    expect(codeOf(record.id)).toBeUndefined();
    expect(etcd.rows.has(keys.transfer(record.id))).toBe(true);
  });
});
