// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Replication } from '../../../services/daemon/replication/replication.ts';
import type { Consistency } from '../../../services/daemon/replication/schema.ts';
import { MAX_KEPT, ReplicationStore, SHARE } from '../../../services/daemon/replication/store.ts';
import { makeDevice } from '../transfers/make-transfer.ts';

const DEVICE = makeDevice();
const WEEK_MS = 7 * 24 * 3600 * 1000;

interface Given {
  offset?: number;
  size?: number;
  consistency?: Consistency;
  client?: string;
  key?: string;
  over?: boolean;
  overForMs?: number;
  destination?: object;
}

let next = 0;
/** What the store looks at of a replication, the latest of all. */
function make(given: Given = {}): Replication {
  const { offset = 0, size = 100, consistency = 'unchanged', client = 'anna', key } = given;
  const { over = true, overForMs = 0, destination = DEVICE } = given;
  return {
    ...{ id: String(next++).padStart(36, '0'), over, overForMs, destination },
    ...{ origin: { client, key }, progress: { consistency } },
    request: { dst_offset: offset, size },
  } as unknown as Replication;
}

function storeOf(...replications: Replication[]): ReplicationStore {
  const store = new ReplicationStore(() => {});
  for (const replication of replications) store.add(replication);
  return store;
}

const ranges = (store: ReplicationStore, device: typeof DEVICE = DEVICE) =>
  store.inconsistentRanges(device).map(({ offset, size, replication: { id } }) => ({
    ...{ offset, size, id },
  }));

describe('inconsistent ranges', () => {
  test('are of each byte what the last replication that wrote it says', () => {
    const operation = fc.record({
      offset: fc.nat(40),
      size: fc.integer({ min: 1, max: 30 }),
      consistency: fc.constantFrom<Consistency>('inconsistent', 'consistent', 'unchanged'),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        const store = storeOf();
        const model = Array<string | undefined>(100).fill(undefined);
        for (const each of operations) {
          const replication = make(each);
          store.add(replication);
          if (each.consistency === 'unchanged') continue;
          const id = each.consistency === 'inconsistent' ? replication.id : undefined;
          model.fill(id, each.offset, each.offset + each.size);
        }
        const found = Array<string | undefined>(100).fill(undefined);
        let end = 0;
        for (const { offset, size, id } of ranges(store)) {
          expect(offset).toBeGreaterThanOrEqual(end);
          expect(size).toBeGreaterThan(0);
          end = offset + size;
          found.fill(id, offset, end);
        }
        expect(found).toEqual(model);
      }),
    );
  });

  test('of a device are not those of another one that has its name', () => {
    const store = storeOf(make({ consistency: 'inconsistent' }));
    expect(ranges(store, { ...DEVICE, identity: 'another' })).toEqual([]);
    expect(ranges(store, { ...DEVICE, name: 'dax9.9' })).toHaveLength(1);
  });

  test('what was proven is not inconsistent again, now or after a restart', () => {
    const overForMs = 2 * WEEK_MS;
    const all = [
      make({ consistency: 'inconsistent', size: 200, overForMs }),
      make({ consistency: 'consistent', size: 100, overForMs }),
      make({ consistency: 'consistent', offset: 500, overForMs }),
    ];
    const kept = new Set(all);
    const store = new ReplicationStore((replication) => kept.delete(replication));
    for (const replication of all) store.add(replication);
    const left = [{ offset: 100, size: 100, id: all[0]?.id }];
    expect(ranges(store)).toEqual(left);
    store.forgetOld();
    expect([...kept]).toEqual(all.slice(0, 2));
    expect(ranges(storeOf(...kept))).toEqual(left);
    store.add(make({ consistency: 'consistent', offset: 100 }));
    store.forgetOld();
    expect(kept.size).toBe(0);
    expect(ranges(store)).toEqual([]);
  });

  test('ten thousand that overlap are told in no time', () => {
    const store = storeOf();
    const began = performance.now();
    for (let i = 0; i < 5000; i++) store.add(make({ size: 2 ** 30, consistency: 'inconsistent' }));
    for (let i = 0; i < 5000; i++) {
      store.add(make({ offset: i * 8192, size: 4096, consistency: 'consistent' }));
    }
    expect(ranges(store)).toHaveLength(5000);
    // It took minutes before.
    expect(performance.now() - began).toBeLessThan(5000);
  });
});

describe('admit', () => {
  const fill = (store: ReplicationStore, count: number, given: Given = {}) => {
    for (let i = 0; i < count; i++) {
      store.add(make({ ...given, ...(given.key !== undefined && { key: `${given.key}${i}` }) }));
    }
  };
  const everybody = { name: 'eve', scopes: new Set(['transfers:all']) } as never;
  const knows = (store: ReplicationStore, { id }: Replication) => {
    try {
      return store.get(id, everybody) !== undefined;
    } catch {
      return false;
    }
  };

  test('forgets none that left a range inconsistent', () => {
    const first = make({ consistency: 'inconsistent' });
    const second = make();
    const store = storeOf(first, second);
    fill(store, MAX_KEPT - 2);
    store.admit('bert');
    expect([knows(store, first), knows(store, second)]).toEqual([true, false]);
    expect(ranges(store)).toHaveLength(1);
  });

  test('forgets of the client that has the most', () => {
    const mine = make({ client: 'bert' });
    const theirs = make();
    const store = storeOf(mine, theirs);
    fill(store, MAX_KEPT - 2);
    store.admit('bert');
    store.admit('anna');
    expect([knows(store, mine), knows(store, theirs)]).toEqual([true, false]);
  });

  test('a client whose keys fill it shuts out itself alone', () => {
    const mine = make({ client: 'bert' });
    const store = storeOf(mine);
    fill(store, MAX_KEPT - 1, { key: 'k' });
    expect(() => store.admit('anna')).toThrow(/none can be forgotten/);
    for (let i = 0; i < SHARE - 1; i++) {
      store.admit('bert');
      store.add(make({ client: 'bert', over: false }));
    }
    expect(() => store.admit('carl')).not.toThrow();
    store.admit('bert');
    // Its own oldest is forgotten for it, for nobody else's can be.
    expect(knows(store, mine)).toBe(false);
  });
});
