// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ByteRange } from '../../../services/base/byte-range.ts';
import type { Device } from '../../../services/daemon/devices/device.ts';
import {
  MAX_PARTS,
  MAX_RANGES,
  originOf,
  type Writer,
} from '../../../services/daemon/replication/inconsistent.ts';
import type { Replication } from '../../../services/daemon/replication/replication.ts';
import type { Consistency } from '../../../services/daemon/replication/schema.ts';
import { MAX_KEPT, ReplicationStore, SHARE } from '../../../services/daemon/replication/store.ts';
import { cpuClock } from '../../support/cpu-time.ts';
import { makeDevice } from '../transfers/make-transfer.ts';

const DEVICE = makeDevice();
const WEEK_MS = 7 * 24 * 3600 * 1000;

interface Given {
  offset?: number;
  size?: number;
  consistency?: Consistency;
  client?: string;
  key?: string;
  finished?: boolean;
  finishedForMs?: number;
  destination?: object;
  labels?: Record<string, string>;
}

const NOBODY = [() => {}, () => {}] as const;

const idOf = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, '0')}`;
let next = 0;
/** What the store looks at of a replication, the latest of all. */
function make(given: Given = {}): Replication {
  const { offset = 0, size = 100, consistency = 'unchanged', client = 'anna', key } = given;
  const { finished = true, finishedForMs = 0, destination = DEVICE, labels = {} } = given;
  return {
    ...{
      id: idOf(next++),
      finished,
      finishedForMs,
      destination,
    },
    ...{ origin: { client, key }, progress: { consistency }, settings: { labels } },
    request: { dst_offset: offset, size },
  } as unknown as Replication;
}

/** Adds one that has come so far since. */
function put(store: ReplicationStore, replication: Replication): void {
  store.add(replication);
  store.noteConsistency(replication);
}

function storeOf(...replications: Replication[]): ReplicationStore {
  const store = new ReplicationStore(...NOBODY);
  for (const replication of replications) put(store, replication);
  return store;
}

const ranges = (store: ReplicationStore, device: typeof DEVICE = DEVICE) =>
  store.inconsistentRanges(device).map(({ offset, size, writer }) => ({
    ...{ offset, size, id: originOf(writer).id },
  }));

function overwrite(store: ReplicationStore, device: Device, range: ByteRange, flush = true): void {
  store.written({ device, ranges: [range], flush });
}

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
          put(store, replication);
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

  test('are cut by other writes there, and their writers are reported as changed', () => {
    const [first, second] = [make({ consistency: 'inconsistent', size: 100 }), make()];
    const changed: Writer[] = [];
    const store = new ReplicationStore(
      () => {},
      (writer) => changed.push(writer),
    );
    put(store, first);
    put(store, second);
    const left = () => ranges(store).map(({ offset, size }) => [offset, size]);
    overwrite(store, DEVICE, { offset: 100, size: 50 });
    overwrite(store, { ...DEVICE, identity: 'another' }, { offset: 0, size: 100 });
    expect(changed).toEqual([]);
    overwrite(store, DEVICE, { offset: 40, size: 20 });
    expect(left()).toEqual([
      [0, 40],
      [60, 40],
    ]);
    overwrite(store, DEVICE, { offset: 90, size: 500 });
    overwrite(store, { ...DEVICE, name: 'dax9.9' }, { offset: 0, size: 10 });
    expect(left()).toEqual([
      [10, 30],
      [60, 30],
    ]);
    expect(store.leftInconsistent(first)).toEqual([
      { offset: 10, size: 30 },
      { offset: 60, size: 30 },
    ]);
    expect(changed).toEqual([first, first, first]);
    overwrite(store, DEVICE, { offset: 0, size: 100 });
    expect(left()).toEqual([]);
    expect(store.leftInconsistent(first)).toEqual([]);
  });

  test('come back after a power failure, unless what overwrote them was flushed or needs no flush', () => {
    for (const flushBasis of ['none', 'cpu_cache', 'clwb', 'msync'] as const) {
      const device = makeDevice({ flushBasis });
      const replication = make({ consistency: 'inconsistent', destination: device });
      const store = storeOf(replication);
      overwrite(store, device, { offset: 0, size: 60 }, false);
      expect(ranges(store, device)).toMatchObject([{ offset: 60, size: 40 }]);
      const loses = flushBasis === 'clwb' || flushBasis === 'msync';
      expect(store.leftInconsistent(replication)).toEqual([
        loses ? { offset: 0, size: 100 } : { offset: 60, size: 40 },
      ]);
      overwrite(store, device, { offset: 60, size: 40 }, false);
      expect(ranges(store, device)).toEqual([]);
      overwrite(store, device, { offset: 0, size: 100 }, true);
      expect(store.leftInconsistent(replication)).toEqual([]);
    }
  });

  test('of an empty range there are none', () => {
    const replication = make({ consistency: 'inconsistent' });
    const store = storeOf(replication);
    overwrite(store, DEVICE, { offset: 50, size: 0 });
    expect(ranges(store)).toHaveLength(1);
    expect(store.leftInconsistent(replication)).toHaveLength(1);
  });

  test('are copied with their bytes, also within a device and by a copy of a copy', () => {
    const replication = make({ consistency: 'inconsistent' });
    const { id } = replication;
    const store = storeOf(replication);
    const other = makeDevice({ name: 'dax1.0', identity: 'another', handle: 1 });
    const copy = (source: Device, device: Device, segments: number[][]) =>
      store.written({
        ...{ copy: { id: idOf(next++), source }, device, flush: true },
        ranges: segments.map(([sourceOffset = 0, offset = 0, size = 0]) => ({
          ...{ sourceOffset, offset, size },
        })),
      });
    // Only the first one has inconsistent bytes.
    copy(DEVICE, other, [
      [90, 0, 20],
      [100, 50, 20],
    ]);
    expect(ranges(store, other)).toEqual([{ offset: 0, size: 20, id }]);
    // The second one reads what the first one writes.
    copy(other, DEVICE, [
      [10, 300, 5],
      [200, 0, 100],
    ]);
    copy(DEVICE, DEVICE, [
      [300, 400, 5],
      [400, 500, 5],
    ]);
    expect(ranges(store).map(({ offset }) => offset)).toEqual([300, 400, 500]);
    expect(store.leftInconsistent(replication)).toEqual([]);
    // What the second one reads was inconsistent before the first one wrote it.
    copy(DEVICE, DEVICE, [
      [700, 300, 5],
      [300, 600, 5],
    ]);
    expect(ranges(store).map(({ offset }) => offset)).toEqual([400, 500, 600]);
    // It cannot be forgotten while there are copies.
    for (let count = 0; count < MAX_KEPT; count++) {
      store.admit('anna');
      store.add(make());
    }
    expect(store.has(id)).toBe(true);
  });

  test('a copy of them is marked before it writes, also for after a power failure', () => {
    const [first, second] = [make({ consistency: 'inconsistent' }), make({ offset: 200 })];
    second.progress.consistency = 'inconsistent';
    const changed: Writer[] = [];
    const store = new ReplicationStore(
      () => {},
      (writer) => changed.push(writer),
    );
    for (const each of [first, second]) put(store, each);
    const device = makeDevice({ name: 'dax1.0', identity: 'another', flushBasis: 'msync' });
    const writing = {
      ...{ device, copy: { id: idOf(next++), source: DEVICE } },
      ranges: [
        { sourceOffset: 0, offset: 0, size: 10 },
        { sourceOffset: 150, offset: 50, size: 10 },
        { sourceOffset: 200, offset: 100, size: 10 },
      ],
    };
    const marks = store.marksOf(writing);
    expect(marks).toMatchObject([
      { copy: { replication: first }, ranges: [{ offset: 0, size: 10 }] },
      { copy: { replication: second }, ranges: [{ offset: 100, size: 10 }] },
    ]);
    expect(ranges(store, device)).toEqual([]);
    store.mark(marks);
    const marked = [
      { offset: 0, size: 10, id: first.id },
      { offset: 100, size: 10, id: second.id },
    ];
    expect(ranges(store, device)).toEqual(marked);
    // There is nothing new to say, be it before it writes or after.
    expect(store.marksOf(writing)).toEqual([]);
    store.written({ ...writing, flush: true });
    expect(ranges(store, device)).toEqual(marked);
    changed.length = 0;
    // What is not flushed may be lost: the mark comes back then.
    overwrite(store, device, { offset: 0, size: 200 }, false);
    expect(ranges(store, device)).toEqual([]);
    expect(marks.map(({ copy }) => store.leftInconsistent(copy))).toEqual(
      marks.map((mark) => mark.ranges),
    );
    expect(changed).toEqual([]);
    // The same copy would have to be marked again, where it was before.
    expect(store.marksOf(writing).map(({ copy }) => copy)).toEqual(marks.map(({ copy }) => copy));
    overwrite(store, device, { offset: 0, size: 200 });
    expect(changed).toEqual(marks.map(({ copy }) => copy));
    expect(marks.map(({ copy }) => store.leftInconsistent(copy))).toEqual([[], []]);
  });

  test('a copy of them over what an older replication has proven stays, in whatever order they are read', () => {
    const source = make({ consistency: 'inconsistent' });
    const device = makeDevice({ name: 'dax1.0', identity: 'another' });
    const proven = make({ destination: device, consistency: 'consistent' });
    const store = storeOf(source, proven);
    const copy = { id: idOf(next++), source: DEVICE };
    const [mark] = store.marksOf({
      ...{ device, copy },
      ranges: [{ sourceOffset: 0, offset: 10, size: 20 }],
    });
    const copies = [mark as NonNullable<typeof mark>];
    store.mark(copies);
    const left = ranges(store, device);
    expect(left).toEqual([{ offset: 10, size: 20, id: source.id }]);
    const whole = [{ offset: 0, size: 100 }];
    const first = { replication: source, inconsistent: whole, copies };
    const second = { replication: proven, inconsistent: [], copies: [] };
    for (const order of [
      [first, second],
      [second, first],
    ]) {
      const later = new ReplicationStore(...NOBODY);
      for (const each of order) later.restore(each);
      expect(ranges(later, device)).toEqual(left);
      // A later one that is proven makes it good.
      put(later, make({ destination: device, offset: 10, size: 5, consistency: 'consistent' }));
      expect(ranges(later, device)).toEqual([{ offset: 15, size: 15, id: source.id }]);
    }
  });

  test('a copy that a later one has overwritten whole is reported, in whatever order they are read', () => {
    const origins = [0, 200].map((offset) => make({ offset, consistency: 'inconsistent' }));
    const device = makeDevice({ name: 'dax1.0', identity: 'another' });
    const store = storeOf(...origins);
    // The earlier copy is one of the second replication.
    const [second, first] = [200, 0].map((sourceOffset) => {
      const copy = { id: idOf(next++), source: DEVICE };
      const writing = { device, copy, ranges: [{ sourceOffset, offset: 0, size: 10 }] };
      const marks = store.marksOf(writing);
      store.mark(marks);
      overwrite(store, device, { offset: 0, size: 10 });
      return marks;
    });
    const changed: Writer[] = [];
    const later = new ReplicationStore(
      () => {},
      (writer) => changed.push(writer),
    );
    const copies = [first ?? [], second ?? []];
    for (const [index, replication] of origins.entries()) {
      later.restore({ replication, inconsistent: [], copies: copies[index] ?? [] });
    }
    expect(ranges(later, device)).toEqual([{ offset: 0, size: 10, id: origins[0]?.id }]);
    // Its row goes: it would outlive its replication.
    expect(changed).toContain(second?.[0]?.copy);
  });

  test('copies do not add any number of ranges', () => {
    const store = storeOf(make({ consistency: 'inconsistent', size: 1 }));
    const copies = Array.from({ length: MAX_RANGES + 10 }, (_, index) => ({
      ...{ sourceOffset: 0, offset: 2 * index + 2, size: 1 },
    }));
    const copy = { id: idOf(next++), source: DEVICE };
    store.written({ device: DEVICE, copy, ranges: copies, flush: true });
    expect(ranges(store)).toHaveLength(MAX_RANGES);
    // What is one too many is joined, so that it is not lost.
    const { offset, size } = ranges(store).at(-1) as ByteRange;
    expect(offset + size).toBe(2 * copies.length + 1);
  });

  test('to mark a copy takes no time, however many ranges each of its segments goes over', () => {
    const store = new ReplicationStore(...NOBODY);
    for (let at = 0; at < MAX_RANGES; at++) {
      put(store, make({ offset: 2 * at, size: 1, consistency: 'inconsistent' }));
    }
    const range = { sourceOffset: 2 ** 17, offset: 0, size: 2 * MAX_RANGES };
    const copy = { id: idOf(next++), source: DEVICE };
    const segments = Array(4096).fill(range);
    const cpuMs = cpuClock();
    store.marksOf({ device: DEVICE, copy, ranges: segments });
    const back = { ...range, sourceOffset: 0, offset: 2 ** 17 };
    expect(store.marksOf({ device: DEVICE, copy, ranges: Array(4096).fill(back) })).toHaveLength(1);
    const read = segments.map((each) => ({ ...each, sourceOffset: 2 * MAX_RANGES - 2 }));
    expect(store.marksOf({ device: DEVICE, copy, ranges: read })).toHaveLength(1);
    // It took seconds before.
    expect(cpuMs()).toBeLessThan(1000);
  });

  test('small writes do not cut them into any number of parts', () => {
    const store = storeOf(make({ consistency: 'inconsistent', size: 2 ** 20 }));
    for (let at = 1; at < 2 ** 20; at += 100) overwrite(store, DEVICE, { offset: at, size: 1 });
    expect(ranges(store)).toHaveLength(MAX_PARTS);
    // What adds no part still counts.
    overwrite(store, DEVICE, { offset: 0, size: 2 ** 19 });
    expect(ranges(store).map(({ offset }) => offset)).toEqual([2 ** 19]);
  });

  test('of earlier daemons are the same, in whatever order they are read', () => {
    const operation = fc.record({
      offset: fc.nat(40),
      size: fc.integer({ min: 1, max: 30 }),
      consistency: fc.constantFrom<Consistency>('inconsistent', 'consistent', 'unchanged'),
    });
    const earlier = fc.array(operation, { maxLength: 12 }).chain((operations) =>
      fc.record({
        operations: fc.constant(operations),
        // Those that are read first, as what is not over and what left something is.
        first: fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
      }),
    );
    fc.assert(
      fc.property(earlier, ({ operations, first }) => {
        const all = operations.map((each) => make(each));
        const live = storeOf(...all);
        const store = new ReplicationStore(...NOBODY);
        const isFirst = (replication: Replication) =>
          first[all.indexOf(replication)] === true || live.leftInconsistent(replication).length > 0;
        const order = [...all.filter(isFirst), ...all.filter((each) => !isFirst(each))];
        for (const replication of order) {
          const left = live.leftInconsistent(replication);
          store.restore({ replication, inconsistent: left, copies: [] });
        }
        expect(ranges(store)).toEqual(ranges(live));
      }),
    );
  });

  test('of an earlier version, which says only how each ended, are found in the order of acceptance', () => {
    const all = [
      make({ consistency: 'inconsistent', size: 200 }),
      make({ consistency: 'consistent', size: 100 }),
      make({ consistency: 'inconsistent', offset: 50, size: 20 }),
    ];
    const store = new ReplicationStore(...NOBODY);
    const [oldest, proven, latest] = all as [Replication, Replication, Replication];
    const whole = ({ request: { dst_offset: offset, size } }: Replication) => [{ offset, size }];
    // It goes on, and is read first.
    store.restore({ replication: latest, inconsistent: whole(latest), copies: [] });
    store.restore({ replication: oldest, inconsistent: whole(oldest), copies: [] });
    store.restore({ replication: proven, inconsistent: [], copies: [] });
    expect(ranges(store)).toEqual([
      { offset: 50, size: 20, id: latest.id },
      { offset: 100, size: 100, id: oldest.id },
    ]);
  });

  test('one is kept for as long as any of it is inconsistent, and no other is for its sake', () => {
    const finishedForMs = 2 * WEEK_MS;
    const all = [
      make({ consistency: 'inconsistent', size: 200, finishedForMs }),
      make({ consistency: 'consistent', size: 100, finishedForMs }),
      make({ consistency: 'consistent', offset: 500, finishedForMs }),
    ];
    const kept = new Set(all);
    const store = new ReplicationStore(
      (replication) => kept.delete(replication),
      () => {},
    );
    for (const replication of all) put(store, replication);
    const left = [{ offset: 100, size: 100, id: all[0]?.id }];
    expect(ranges(store)).toEqual(left);
    store.forgetOld();
    expect([...kept]).toEqual(all.slice(0, 1));
    expect(ranges(store)).toEqual(left);
    put(store, make({ consistency: 'consistent', offset: 100 }));
    store.forgetOld();
    expect(kept.size).toBe(0);
    expect(ranges(store)).toEqual([]);
  });

  test('ten thousand that overlap are listed in no time', () => {
    const store = storeOf();
    const cpuMs = cpuClock();
    for (let i = 0; i < 5000; i++) put(store, make({ size: 2 ** 30, consistency: 'inconsistent' }));
    for (let i = 0; i < 5000; i++) {
      put(store, make({ offset: i * 8192, size: 4096, consistency: 'consistent' }));
    }
    expect(ranges(store)).toHaveLength(5000);
    // It took minutes before.
    expect(cpuMs()).toBeLessThan(5000);
  });

  test('ten thousand that are inconsistent hold up neither what is forgotten nor what comes', () => {
    const store = storeOf();
    for (let i = 0; i < MAX_KEPT; i++) {
      put(store, make({ offset: i * 8192, size: 4096, consistency: 'inconsistent', key: `k${i}` }));
    }
    const cpuMs = cpuClock();
    for (let i = 0; i < 20; i++) {
      store.forgetOld();
      expect(() => store.admit('anna')).toThrow(/none can be forgotten/);
    }
    // It took 10^8 steps each time before.
    expect(cpuMs()).toBeLessThan(2000);
  });
});

describe('a page', () => {
  const EVE = { name: 'eve', scopes: new Set(['transfers:all']) } as never;

  test('ends before it is too large, and the next one goes on', () => {
    const store = storeOf();
    const text = 'x'.repeat(255);
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`label-${i}`, text]));
    const all = Array.from({ length: 500 }, () => make({ labels }));
    for (const replication of all) put(store, replication);
    const found: Replication[] = [];
    let token = '';
    let pages = 0;
    do {
      const query = { page_size: 1000, ...(token !== '' && { page_token: token }) };
      const page = store.page(query, EVE);
      expect(JSON.stringify(page.replications.map(({ settings }) => settings)).length).toBeLessThan(
        2.1 * 2 ** 20,
      );
      found.push(...page.replications);
      token = page.nextPageToken;
      pages++;
    } while (token !== '');
    expect(found).toEqual(all.toReversed());
    expect(pages).toBeGreaterThan(3);
    expect(pages).toBeLessThan(10);
  });

  test('of a thousand plain ones is whole', () => {
    const store = storeOf();
    for (let i = 0; i < 1000; i++) put(store, make());
    expect(store.page({ page_size: 1000 }, EVE).replications).toHaveLength(1000);
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
      store.add(make({ client: 'bert', finished: false }));
    }
    expect(() => store.admit('carl')).not.toThrow();
    store.admit('bert');
    // Its own oldest is forgotten for it, for nobody else's can be.
    expect(knows(store, mine)).toBe(false);
  });
});
