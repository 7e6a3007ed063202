// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TransferIds } from '../../../services/base/transfer-ids.ts';
import { GroupCommit } from '../../../services/fleet/etcd/group-commit.ts';
import { Keys } from '../../../services/fleet/etcd/keys.ts';
import { EtcdError } from '../../../services/fleet/etcd/store.ts';
import { Acceptor } from '../../../services/fleet/transfers/acceptance.ts';
import type { RunningRecord } from '../../../services/fleet/transfers/record.ts';
import { fleetTransferRequestSchema } from '../../../services/fleet/transfers/schema.ts';
import { OutcomeUnknown, Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { FakeEtcd, type Fate } from '../../support/fake-etcd.ts';

const keys = new Keys('dmad/');
const ids = new TransferIds();

function recordOf(usedKey?: string, size = 4096, host = 'hosta'): RunningRecord {
  const request = fleetTransferRequestSchema.parse({
    ...{ host, device_name: 'dax0.0', src_offset: 0, dst_offset: 2 ** 20, size },
  });
  return {
    ...{ id: ids.next(), client: 'me', host, request, acceptedAt: Date.now(), usedKey },
    ...{ waitsFor: [], progress: { is: 'accepted' } },
  };
}

async function withHost(): Promise<FakeEtcd> {
  const etcd = new FakeEtcd();
  await etcd.write([], [{ put: keys.host('hosta'), value: '{}' }]);
  return etcd;
}

describe('acceptance', () => {
  test('the same key with another meaning is refused', async () => {
    const etcd = await withHost();
    const acceptor = new Acceptor(etcd, keys, new GroupCommit(etcd));
    const first = await acceptor.accept(recordOf('k'));
    expect(first.replayed).toBe(false);
    expect(await acceptor.accept(recordOf('k'))).toEqual({ id: first.id, replayed: true });
    await expect(acceptor.accept(recordOf('k', 8192))).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });

  test('a host that was removed meanwhile is unknown', async () => {
    const etcd = new FakeEtcd();
    const acceptor = new Acceptor(etcd, keys, new GroupCommit(etcd));
    await expect(acceptor.accept(recordOf())).rejects.toMatchObject({ code: 'unknown_host' });
  });

  test('an attempt that reaches etcd after the transfer has ended changes nothing', async () => {
    const etcd = await withHost();
    const write = etcd.write.bind(etcd);
    let late = async () => ({ held: true });
    etcd.write = (conditions, writes) => {
      etcd.write = write;
      late = () => write(conditions, writes);
      return Promise.reject(new EtcdError('unknown', 'deadline exceeded'));
    };
    const record = recordOf();
    expect(await new Acceptor(etcd, keys, new GroupCommit(etcd)).accept(record)).toMatchObject({
      id: record.id,
    });
    await write(
      [],
      [{ delete: keys.transfer(record.id) }, { put: keys.ended(record.id), value: '{}' }],
    );
    expect((await late()).held).toBe(false);
    expect(etcd.rows.has(keys.transfer(record.id))).toBe(false);
  });

  test.each([
    ['not_done', 'etcd_unavailable'],
    ['full', 'etcd_unavailable'],
  ] as const)('an etcd that is %s refuses with %s', async (fate, code) => {
    const etcd = await withHost();
    etcd.fate = () => fate;
    const error = await new Acceptor(etcd, keys, new GroupCommit(etcd))
      .accept(recordOf())
      .catch((each) => each);
    expect(error).toMatchObject({ code });
    expect(error.options.headers['retry-after']).toMatch(/^[0-9]+$/);
  });

  test('what may still be written is not refused, though it could not be accepted by now', async () => {
    const etcd = await withHost();
    const write = etcd.write.bind(etcd);
    etcd.write = async () => {
      etcd.write = write;
      await write([], [{ put: keys.leaving('hosta'), value: '' }]);
      throw new EtcdError('unknown', 'Deadline exceeded');
    };
    const outcome = await new Acceptor(etcd, keys, new GroupCommit(etcd))
      .accept(recordOf())
      .catch((error) => error);
    expect(outcome).toBeInstanceOf(OutcomeUnknown);
  });

  test('whatever etcd does: no key twice, and what was refused is not there', async () => {
    const fates: Fate[] = ['done', 'done', 'not_done', 'lost', 'unknown'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 1 })), { minLength: 1, maxLength: 30 }),
        fc.infiniteStream(fc.constantFrom(...fates)),
        async (requests, fate) => {
          const etcd = await withHost();
          etcd.fate = () => fate.next().value as Fate;
          const gateways = [
            new Acceptor(etcd, keys, new GroupCommit(etcd)),
            new Acceptor(etcd, keys, new GroupCommit(etcd)),
          ];
          const made = await Promise.all(
            requests.map(async ([key, gateway]) => {
              const record = recordOf(key === 0 ? undefined : `k${key}`);
              const outcome = await (gateways[gateway] as Acceptor)
                .accept(record)
                .catch((error: unknown) => error);
              return { key, record, outcome };
            }),
          );
          const stands = (id: string) => etcd.rows.has(keys.transfer(id));
          const ofKey = new Map<number, Set<string>>();
          for (const { key, record, outcome } of made) {
            if (outcome instanceof Problem) {
              expect(stands(record.id)).toBe(false);
            } else if (!(outcome instanceof OutcomeUnknown)) {
              const { id, replayed } = outcome as { id: string; replayed: boolean };
              expect(stands(id)).toBe(true);
              expect(replayed).toBe(id !== record.id);
            }
            if (key !== 0 && stands(record.id)) {
              const others = ofKey.get(key) ?? new Set();
              ofKey.set(key, others.add(record.id));
            }
          }
          for (const transfers of ofKey.values()) expect(transfers.size).toBe(1);
        },
      ),
      { numRuns: runs(1000, 60) },
    );
  });
});
