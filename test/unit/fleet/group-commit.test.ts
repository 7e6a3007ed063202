// SPDX-License-Identifier: Apache-2.0
import { describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { GroupCommit, type Unit } from '../../../services/fleet/etcd/group-commit.ts';
import { EtcdError } from '../../../services/fleet/etcd/store.ts';
import { runs } from '../../support/depth.ts';
import { FakeEtcd, type Fate } from '../../support/fake-etcd.ts';

const put = (key: string, value = ''): Unit => ({
  conditions: [{ key, is: 'absent' }],
  writes: [{ put: key, value }],
});

describe('a group commit', () => {
  test('writes what comes while a transaction is under way in the next one', async () => {
    const etcd = new FakeEtcd();
    const commit = new GroupCommit(etcd);
    const first = commit.write(put('a'));
    await new Promise(setImmediate);
    const others = ['b', 'c', 'd'].map((key) => commit.write(put(key)));
    expect(await Promise.all([first, ...others])).toEqual([true, true, true, true]);
    expect(etcd.written.map(({ writes }) => writes.length)).toEqual([1, 3]);
  });

  test('of a group, only what does not hold is not written', async () => {
    const etcd = new FakeEtcd();
    await etcd.write([], [{ put: 'b', value: 'there' }]);
    const commit = new GroupCommit(etcd);
    const held = await Promise.all(['a', 'b', 'c'].map((key) => commit.write(put(key, 'new'))));
    expect(held).toEqual([true, false, true]);
    expect(etcd.rows.get('b')?.value).toBe('there');
  });

  test('of a group, only what lacks its lease is not written', async () => {
    const etcd = new FakeEtcd();
    const commit = new GroupCommit(etcd);
    const leased: Unit = { conditions: [], writes: [{ put: 'b', value: '', lease: 'gone' }] };
    const units = [put('a'), leased, put('c')];
    const outcomes = await Promise.allSettled(units.map((unit) => commit.write(unit)));
    expect(outcomes).toMatchObject([
      { value: true },
      { reason: { failure: 'no_lease' } },
      { value: true },
    ]);
  });

  test('finds the one of many that does not hold in few transactions', async () => {
    const etcd = new FakeEtcd();
    await etcd.write([], [{ put: 'k37', value: 'there' }]);
    const commit = new GroupCommit(etcd);
    const names = Array.from({ length: 64 }, (_, index) => `k${index}`);
    const held = await Promise.all(names.map((key) => commit.write(put(key))));
    expect(held.filter((each) => !each)).toHaveLength(1);
    expect(etcd.written.length).toBeLessThanOrEqual(2 * Math.log2(64) + 2);
  });

  test('keeps to what etcd takes in one transaction', async () => {
    const etcd = new FakeEtcd();
    const commit = new GroupCommit(etcd);
    const small = Array.from({ length: 300 }, (_, index) => commit.write(put(`small${index}`)));
    const large = Array.from({ length: 5 }, (_, index) =>
      commit.write(put(`large${index}`, 'x'.repeat(2 ** 19))),
    );
    // As what a client has changed, which is compared.
    const value = 'x'.repeat(2 ** 15);
    const keys = Array.from({ length: 60 }, (_, index) => `changed${index}`);
    await etcd.write(
      [],
      keys.map((key) => ({ put: key, value })),
    );
    etcd.written.length = 0;
    const changed = keys.map((key) =>
      commit.write({ conditions: [{ key, is: 'equal', value }], writes: [{ delete: key }] }),
    );
    await Promise.all([...small, ...large, ...changed]);
    for (const { conditions, writes } of etcd.written) {
      expect(conditions.length).toBeLessThanOrEqual(128);
      expect(writes.length).toBeLessThanOrEqual(128);
      const values = [...conditions, ...writes].map((each) => ('value' in each ? each.value : ''));
      expect(values.join('').length).toBeLessThan(1.5 * 2 ** 20);
    }
    expect(etcd.written.length).toBeLessThan(12);
  });

  test('what waits behind calls that etcd does not answer is refused in time', async () => {
    jest.useFakeTimers();
    try {
      const write = () =>
        new Promise<never>((_, reject) => {
          setTimeout(() => reject(new EtcdError('unknown', 'request timed out')), 4000);
        });
      const commit = new GroupCommit({ write });
      const failures: (string | undefined)[] = [];
      for (let count = 0; count < 2000; count++) {
        commit.write(put(`k${count}`)).catch(({ failure }) => failures.push(failure));
      }
      await jest.advanceTimersByTimeAsync(9000);
      expect(failures).toHaveLength(2000);
      expect(failures.filter((failure) => failure !== 'not_done').length).toBeLessThan(300);
    } finally {
      jest.useRealTimers();
    }
  });

  test('one key is not written twice in a transaction, and its last value stays', async () => {
    const etcd = new FakeEtcd();
    const commit = new GroupCommit(etcd);
    const write = (value: string) =>
      commit.write({ conditions: [], writes: [{ put: 'same', value }] });
    await Promise.all(['1', '2', '3'].map(write));
    expect(etcd.rows.get('same')?.value).toBe('3');
    for (const { writes } of etcd.written) expect(writes).toHaveLength(1);
  });

  test('says of each unit what became of it, whatever etcd does', async () => {
    const fates: Fate[] = ['done', 'done', 'done', 'not_done', 'lost', 'unknown', 'full'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 60 }),
        fc.infiniteStream(fc.constantFrom(...fates)),
        fc.infiniteStream(fc.integer({ min: 0, max: 3 })),
        async (keys, fate, pause) => {
          const etcd = new FakeEtcd();
          etcd.fate = () => fate.next().value as Fate;
          const commit = new GroupCommit(etcd);
          const outcomes = new Map<number, string>();
          const all: Promise<void>[] = [];
          for (const [index, key] of keys.entries()) {
            all.push(
              commit.write(put(`k${key}`, String(index))).then(
                (held) => void outcomes.set(index, held ? 'held' : 'not held'),
                (error: EtcdError) => void outcomes.set(index, error.failure),
              ),
            );
            for (let turns = pause.next().value as number; turns > 0; turns--) {
              await new Promise(setImmediate);
            }
          }
          await Promise.all(all);
          expect(outcomes.size).toBe(keys.length);
          for (const [index, key] of keys.entries()) {
            const value = etcd.rows.get(`k${key}`)?.value;
            const outcome = outcomes.get(index);
            if (outcome === 'held') expect(value).toBe(String(index));
            if (outcome === 'not_done' || outcome === 'full') expect(value).not.toBe(String(index));
            if (outcome === 'not held') expect(value).toBeDefined();
          }
        },
      ),
      { numRuns: runs(2000, 100) },
    );
  });
});
