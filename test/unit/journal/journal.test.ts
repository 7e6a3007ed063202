// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Journal } from '../../../services/daemon/journal/journal.ts';
import { FULL, MemoryMark, MemoryStore, memoryJournal } from '../../support/memory-store.ts';

const READ_ONLY = new Error('IO error: /state/journal/000007.log: Read-only file system');
const row = (key: string, value: string | undefined = 'x') => new Map([[key, value]]);
const tick = () => new Promise((resolve) => setImmediate(resolve));
const ticks = async () => {
  for (let i = 0; i < 5; i++) await tick();
};

describe('Journal', () => {
  let store: MemoryStore;
  let mark: MemoryMark;
  let journal: Journal;
  let counted: { synced: number; failed: number };
  beforeEach(() => {
    store = new MemoryStore();
    mark = new MemoryMark();
    ({ journal, counted } = memoryJournal(store, mark));
  });

  const accept = (key: string) => journal.accept(row(key), () => {});

  test('all that comes in one tick, or while the disk is busy, shares one sync', async () => {
    const first = Array.from({ length: 100 }, (_, i) => accept(`a${i}`));
    const letThrough = store.hold();
    await tick();
    const second = Array.from({ length: 100 }, (_, i) => journal.record(row(`b${i}`)));
    letThrough();
    await Promise.all([...first, ...second]);
    expect(store.batches.map(({ rows, sync }) => [rows.size, sync])).toEqual([
      [101, true],
      [101, true],
    ]);
    expect(counted).toEqual({ synced: 2, failed: 0 });
  });

  test('resolves once it is on disk, and not before', async () => {
    const letThrough = store.hold();
    let done = false;
    const added = accept('a').then(() => {
      done = true;
    });
    await ticks();
    expect(done).toBe(false);
    letThrough();
    await added;
    expect(store.rows.get('a')).toBe('x');
  });

  test('what is in no hurry waits, and goes unsynced, or with what is', async () => {
    journal.writeSoon(row('lazy'));
    await ticks();
    expect(store.batches).toEqual([]);
    await accept('a');
    expect([...store.rows.keys()]).toEqual(['lazy', 'a', 'batch']);
    journal.writeSoon(row('later'));
    while (!store.rows.has('later')) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(store.batches.at(-1)?.sync).toBe(false);
    expect(counted.synced).toBe(1);
  });

  test('takes rows away', async () => {
    await accept('a');
    journal.writeSoon(row('b'));
    journal.remove(['a', 'b', 'never']);
    await accept('c');
    expect([...store.rows.keys()].sort()).toEqual(['batch', 'c']);
  });

  test.each([
    [FULL, 'storage_full', /No space left on device/],
    [READ_ONLY, 'journal_unavailable', /Read-only file system/],
    [new Error('IO error: x: Disk quota exceeded'), 'storage_full', /quota/],
    [new Error('Corruption: bad'), 'journal_unavailable', /bad/],
  ])('%s is %s, with what to do, and no path', async (failure, code, detail) => {
    store.failure = failure;
    const refused = accept('a');
    await expect(refused).rejects.toMatchObject({
      ...{ code, message: expect.stringMatching(detail) },
      options: { headers: { 'retry-after': expect.stringMatching(/^\d+$/) } },
    });
    await expect(refused).rejects.not.toThrow('/state');
    expect(journal.trouble?.code).toBe(code);
    // From now on it is refused without a try.
    await expect(accept('b')).rejects.toMatchObject({ code });
    expect(counted).toEqual({ synced: 0, failed: 1 });
  });

  test('comes back by itself; what was refused is not there, what had to be kept is', async () => {
    journal.writeSoon(row('lazy'));
    store.failure = FULL;
    store.leavesRows = true;
    const settled = journal.record(row('settled'));
    const refused = [accept('refused'), accept('too')];
    for (const one of refused) await expect(one).rejects.toMatchObject({ code: 'storage_full' });
    await settled;
    expect(mark.set).toBe(true);
    // Some of it got to the disk.
    expect(store.rows.has('refused')).toBe(true);
    await journal.record(row('also'));

    store.failure = undefined;
    while (journal.trouble !== undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    await accept('new');
    expect(store.reopened).toBeGreaterThan(0);
    expect([...store.rows.keys()].sort()).toEqual([
      ...['also', 'batch', 'format', 'lazy', 'new', 'settled'],
    ]);
    expect(mark.set).toBe(false);
  });

  test('where the mark cannot be made either, waits for the disk', async () => {
    store.failure = READ_ONLY;
    mark.failure = READ_ONLY;
    let done = false;
    const settled = journal.record(row('a')).then(() => {
      done = true;
    });
    await ticks();
    const later = journal.record(row('b'));
    await ticks();
    expect(done).toBe(false);
    store.failure = undefined;
    await Promise.all([settled, later]);
    expect([...store.rows.keys()].sort()).toEqual(['a', 'b', 'batch', 'format']);
    expect(mark.set).toBe(false);
  });

  test('a mark that cannot be cleared is cleared later', async () => {
    mark.says = 'doubted';
    mark.failure = READ_ONLY;
    await accept('a');
    await ticks();
    expect([mark.set, mark.clean]).toEqual([false, false]);
    mark.failure = undefined;
    await accept('b');
    await ticks();
    expect(mark.clean).toBe(true);
  });

  test('on a mark that could not be cleared nothing relies: it may have been, all the same', async () => {
    mark.says = 'doubted';
    mark.failure = READ_ONLY;
    await accept('a');
    await ticks();
    store.failure = READ_ONLY;
    let done = false;
    const settled = journal.record(row('b')).then(() => {
      done = true;
    });
    await ticks();
    expect(done).toBe(false);
    mark.failure = undefined;
    await settled;
    expect(mark.set || store.rows.has('b')).toBe(true);
  });

  test('a mark from before stays until what it is for has been dealt with', async () => {
    mark.says = 'doubted';
    const { journal: doubted } = memoryJournal(store, mark, undefined, true);
    await doubted.accept(row('a'), () => {});
    await ticks();
    expect(mark.set).toBe(true);
    const settled = doubted.record(row('b'));
    doubted.trust();
    await settled;
    await ticks();
    expect(mark.set).toBe(false);
  });

  test('the mark stays while rows that rely on it are missing', async () => {
    store.failure = FULL;
    await journal.record(row('a'));
    expect(mark.set).toBe(true);
    store.failure = undefined;
    const letThrough = store.hold();
    // The batch that shall bring it back is under way.
    while (store.reopened < 1) await new Promise((resolve) => setTimeout(resolve, 10));
    await tick();
    await journal.record(row('b'));
    expect(store.rows.has('b')).toBe(false);
    expect(mark.set).toBe(true);
    letThrough();
    while (mark.set) await tick();
    expect(store.rows.has('b')).toBe(true);
  });

  test('at the end writes what is left', async () => {
    journal.writeSoon(row('lazy'));
    await journal.close();
    expect(store.rows.has('lazy')).toBe(true);
    expect(store.closed).toBe(true);
  });

  test('at the end, too, it is marked that rows are missing', async () => {
    store.failure = FULL;
    await expect(accept('a')).rejects.toMatchObject({ code: 'storage_full' });
    expect(mark.set).toBe(false);
    journal.stopWaiting();
    await journal.record(row('b'));
    expect(mark.set).toBe(true);
    await journal.close();
    expect(mark.set).toBe(true);
  });

  test('at the end nobody waits for a disk that cannot be written', async () => {
    store.failure = READ_ONLY;
    mark.failure = READ_ONLY;
    const before = journal.record(row('a'));
    await ticks();
    journal.stopWaiting();
    await before;
    await journal.record(row('b'));
    await journal.close();
    expect(store.closed).toBe(true);
  });
});
