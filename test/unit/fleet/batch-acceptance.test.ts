// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { EtcdError } from '../../../services/fleet/etcd/store.ts';
import { BatchAcceptor } from '../../../services/fleet/transfers/batch-acceptance.ts';
import { type RunningRecord, readUsedKey } from '../../../services/fleet/transfers/record.ts';
import { OutcomeUnknown, Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { keys, recordOf } from '../../support/fleet-records.ts';
import { Random } from '../../support/random.ts';

const SIZE = 150;

async function setUp() {
  const etcd = new FakeEtcd();
  await etcd.write([], [{ put: keys.host('hosta'), value: '{}' }]);
  return etcd;
}

function batch(): RunningRecord[] {
  return Array.from({ length: SIZE }, (_, index) => recordOf({}, { usedKey: `key ${index}` }));
}

function acceptedOf(etcd: FakeEtcd, records: readonly RunningRecord[]): number {
  return records.filter(({ id }) => etcd.rows.has(keys.transfer(id))).length;
}

describe('a batch', () => {
  test('is accepted as a whole, with keys that outlast the lease they were reserved under', async () => {
    const etcd = await setUp();
    const records = batch();
    expect(await new BatchAcceptor(etcd, keys).accept(records)).toBe('accepted');
    await etcd.expireLeases();
    expect(acceptedOf(etcd, records)).toBe(SIZE);
    for (const { id, usedKey = '' } of records) {
      const row = etcd.rows.get(keys.used('me', usedKey));
      expect(readUsedKey(row?.value ?? '')).toEqual({ id, digest: expect.any(String) });
    }
  });

  test('is not accepted if one of its keys is taken, and leaves the others free', async () => {
    const etcd = await setUp();
    const taken = keys.used('me', `key ${SIZE - 1}`);
    await etcd.write([], [{ put: taken, value: '{}' }]);
    const records = batch();
    expect(await new BatchAcceptor(etcd, keys).accept(records)).toBe('key_taken');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([...etcd.rows.keys()].sort()).toEqual([keys.host('hosta'), taken]);
  });

  test('is not accepted once its reservation has ended', async () => {
    const etcd = await setUp();
    const write = etcd.write.bind(etcd);
    etcd.write = async (conditions, writes) => {
      if (writes.length > SIZE) await etcd.expireLeases();
      return write(conditions, writes);
    };
    const records = batch();
    await expect(new BatchAcceptor(etcd, keys).accept(records)).rejects.toMatchObject({
      code: 'etcd_unavailable',
    });
    expect(acceptedOf(etcd, records)).toBe(0);
  });

  test('that may still be written is not refused, though it could not be accepted by now', async () => {
    const etcd = await setUp();
    const write = etcd.write.bind(etcd);
    etcd.write = async () => {
      etcd.write = write;
      await write([], [{ put: keys.leaving('hosta'), value: '' }]);
      throw new EtcdError('unknown', 'Deadline exceeded');
    };
    const outcome = await new BatchAcceptor(etcd, keys)
      .accept([recordOf(), recordOf()])
      .catch((error) => error);
    expect(outcome).toBeInstanceOf(OutcomeUnknown);
  });

  test('is all there or not at all, and each key is of one transfer, whatever etcd does', async () => {
    const random = new Random();
    await random.explain(async () => {
      for (let run = 0; run < runs(300, 30); run++) {
        const etcd = await setUp();
        etcd.fate = () =>
          random.pick(['done', 'done', 'done', 'not_done', 'lost', 'unknown'] as const);
        etcd.delay = () => random.integer(0, 3);
        const batches = [batch(), batch()];
        const outcomes = await Promise.all(
          batches.map((records) =>
            new BatchAcceptor(etcd, keys).accept(records).catch((error: unknown) => error),
          ),
        );
        etcd.fate = () => 'done';
        await new Promise((resolve) => setTimeout(resolve, 20));
        const counts = batches.map((records) => acceptedOf(etcd, records));
        for (const [index, outcome] of outcomes.entries()) {
          const count = counts[index];
          if (outcome === 'accepted') expect(count).toBe(SIZE);
          else if (outcome instanceof OutcomeUnknown) expect([0, SIZE]).toContain(count);
          else {
            expect(outcome === 'key_taken' || outcome instanceof Problem).toBe(true);
            expect(count).toBe(0);
          }
        }
        // The same keys: one of them at most.
        expect(counts.filter((count) => count === SIZE).length).toBeLessThanOrEqual(1);
        const winner = batches[counts.indexOf(SIZE)];
        for (const { id, usedKey = '' } of winner ?? []) {
          const row = etcd.rows.get(keys.used('me', usedKey));
          expect(readUsedKey(row?.value ?? '')).toEqual({ id, digest: expect.any(String) });
        }
      }
    });
  });
});
