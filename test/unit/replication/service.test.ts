// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import type { Inventory } from '../../../services/daemon/devices/device.ts';
import { Journal } from '../../../services/daemon/journal/journal.ts';
import type { StoredRows } from '../../../services/daemon/journal/stored-rows.ts';
import { Replication } from '../../../services/daemon/replication/replication.ts';
import { acceptedRows, endedRows } from '../../../services/daemon/replication/rows.ts';
import { replicationRequestSchema } from '../../../services/daemon/replication/schema.ts';
import {
  ReplicationService,
  type ReplicationServiceOptions,
} from '../../../services/daemon/replication/service.ts';
import { Feed } from '../../../services/daemon/transfers/feed.ts';
import { OutcomeUnknown, Problem } from '../../../services/http/problems/problem.ts';
import { CLOCK, makeDevice } from '../transfers/make-transfer.ts';

const REQUEST = replicationRequestSchema.parse({
  ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
  ...{ dst_offset: 0, size: 4096 },
});
const ORIGIN = { requestId: 'r', client: 'anna', key: 'k', trace: undefined };
const ANNA = { name: 'anna', scopes: new Set<never>() };
const REFUSAL = new Problem('storage_full', 'full');

/** A disk whose writes end when a test says so. */
class Disk {
  accepted = () => {};
  refused = (_problem: Problem) => {};
  undecided = (_problem: Problem) => {};
  readonly recorded: string[] = [];
  readonly noted = new Map<string, string | undefined>();

  accept(_rows: unknown, undecided: (problem: Problem) => void): Promise<void> {
    this.undecided = undecided;
    return new Promise((accepted, refused) => {
      this.accepted = accepted;
      this.refused = refused;
    });
  }

  acceptThen(...parameters: Parameters<Journal['acceptThen']>): Promise<void> {
    return Journal.prototype.acceptThen.apply(this as unknown as Journal, parameters);
  }

  writeSoon(rows: Map<string, string | undefined>): void {
    for (const [key, value] of rows) this.noted.set(key, value);
  }

  remove(keys: Iterable<string>): void {
    for (const key of keys) this.noted.set(key, undefined);
  }

  async record(rows: Map<string, string>): Promise<boolean> {
    this.recorded.push(...rows.keys());
    return true;
  }
}

let disk: Disk;
let service: ReplicationService;
let released: number;
/** What the watchers, the metrics and the queue heard of, in that order. */
let heard: string[];
beforeEach(() => {
  disk = new Disk();
  heard = [];
  released = 0;
  service = makeService();
});
afterEach(() => service.close());

function makeService(): ReplicationService {
  let ids = 0;
  const inventory = { named: () => makeDevice() } as unknown as Inventory;
  const feed = new Feed();
  feed.watchAll(ANNA, ({ subject }) => heard.push(subject.status));
  return new ReplicationService({
    ...{ inventory, clock: CLOCK, journal: disk, log: silentLog().logger, feed },
    peers: { find: () => ({}) },
    ids: {
      passOver: () => {},
      next: () => `00000000-0000-7000-8000-${String(ids++).padStart(12, '0')}`,
    },
    queue: {
      ...{ admitTransfers: () => {}, add: () => ({}), waitOf: () => undefined },
      release: () => {
        released++;
        heard.push('released');
      },
    },
    observer: { finished: () => heard.push('finished'), received: () => {} },
  } as unknown as ReplicationServiceOptions);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const all = async () => (await service.list({ page_size: 10 }, ANNA)).replications;

test('a retry is not told of a replication that may yet be refused', async () => {
  const first = service.create(REQUEST, ORIGIN);
  disk.undecided(REFUSAL);
  await expect(first).rejects.toBeInstanceOf(OutcomeUnknown);
  await expect(service.create(REQUEST, ORIGIN)).rejects.toBeInstanceOf(OutcomeUnknown);
  disk.accepted();
  await turn();
  expect(await service.create(REQUEST, ORIGIN)).toMatchObject({ replayed: true });
});

test('a retry of what was refused is another replication', async () => {
  const first = service.create(REQUEST, ORIGIN);
  const retry = service.create(REQUEST, ORIGIN);
  disk.refused(REFUSAL);
  await expect(first).rejects.toBe(REFUSAL);
  await turn();
  disk.accepted();
  expect(await retry).toMatchObject({ replayed: false });
  expect(await all()).toHaveLength(1);
});

test.each([false, true])(
  'a cancel meanwhile counts once it is accepted (late: %s)',
  async (late) => {
    const created = service.create(REQUEST, ORIGIN).catch((error) => error);
    const [replication] = await all();
    const cancelled = service.cancel(replication?.id as string, ANNA);
    if (late) {
      disk.undecided(REFUSAL);
      expect(await created).toBeInstanceOf(OutcomeUnknown);
    }
    await turn();
    disk.accepted();
    expect(await cancelled).toMatchObject({ status: 'cancelled' });
    expect(disk.recorded).toContain(`replication/${replication?.id}/ended`);
    expect(released).toBe(1);
  },
);

test('a change that the disk has once the replication is over is taken back', async () => {
  const created = service.create(REQUEST, ORIGIN);
  disk.accepted();
  const { id } = (await created).replication;
  const changed = service.change(id, ANNA, { labels: { late: 'yes' } });
  await turn();
  disk.undecided(REFUSAL);
  await expect(changed).rejects.toBeInstanceOf(OutcomeUnknown);
  expect(await service.cancel(id, ANNA)).toMatchObject({ status: 'cancelled' });
  disk.accepted();
  await turn();
  expect((await service.get(id, ANNA)).settings.labels).toEqual({});
  expect([...disk.noted]).toContainEqual([`replication/${id}/changed_1`, undefined]);
});

test('a cancel of what stays undecided ends when the daemon does', async () => {
  const created = service.create(REQUEST, ORIGIN).catch((error) => error);
  const cancelled = service.cancel((await all())[0]?.id as string, ANNA);
  disk.undecided(REFUSAL);
  expect(await created).toBeInstanceOf(OutcomeUnknown);
  await turn();
  await service.interrupt();
  await expect(cancelled).rejects.toMatchObject({ code: 'not_cancellable' });
});

test('those behind it go on when all have heard of its end', async () => {
  const created = service.create(REQUEST, ORIGIN);
  disk.accepted();
  const { replication } = await created;
  heard = [];
  await service.cancel(replication.id, ANNA);
  expect(heard).toEqual(['finished', 'cancelled', 'released']);
});

test('those behind it go on when all have heard that it is left to the next daemon', async () => {
  const created = service.create(REQUEST, ORIGIN);
  disk.accepted();
  const { replication } = await created;
  heard = [];
  await service.interrupt();
  expect(heard).toEqual([replication.status, 'released']);
});

test('a cancel of what is then refused finds nothing', async () => {
  const created = service.create(REQUEST, ORIGIN);
  const cancelled = service.cancel((await all())[0]?.id as string, ANNA);
  disk.refused(REFUSAL);
  await expect(created).rejects.toBe(REFUSAL);
  await expect(cancelled).rejects.toMatchObject({ code: 'not_found' });
  expect(released).toBe(1);
});

/** Of earlier daemons: every third one has left its range inconsistent. */
function history(count: number): Map<string, string> {
  const stored = new Map<string, string>();
  for (let i = 0; i < count; i++) {
    const id = `00000000-0000-7000-8000-${String(i).padStart(12, '0')}`;
    const request = { ...REQUEST, dst_offset: i * 4096 };
    const origin = { ...ORIGIN, key: `key-${i}` };
    const replication = new Replication(id, request, makeDevice(), origin, CLOCK);
    if (i % 3 === 0) replication.progress.consistency = 'inconsistent';
    const rows = [
      ...acceptedRows(replication),
      ...endedRows(replication, replication.end(REFUSAL)),
    ];
    for (const [key, value] of rows) if (value !== undefined) stored.set(key, value);
  }
  return new Map([...stored].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const storedRows = (stored: ReadonlyMap<string, string>) =>
  ({
    keys: [...stored.keys()],
    get: async (keys: string[]) => keys.map((key) => [key, stored.get(key)]),
  }) as unknown as StoredRows;

test('what clients must find at once is read first, in slices, and other work goes on meanwhile', async () => {
  const count = 3000;
  const stored = history(count);
  let turns = 0;
  let reading = true;
  const otherWork = () => {
    turns++;
    if (reading) setImmediate(otherWork);
  };
  otherWork();
  expect(await service.read(storedRows(stored))).toEqual([]);
  reading = false;
  expect(turns).toBeGreaterThan(5);
  expect(service.inconsistent.bytesOf(makeDevice())).toBe((count / 3) * 4096);
});

test('the other replications are read after that, and a request for one waits', async () => {
  const count = 1000;
  const stored = history(count);
  await service.read(storedRows(stored));
  const [, second] = [...new Set([...stored.keys()].map((key) => key.split('/')[1] as string))];
  let answered = 0;
  const answers = [
    service.list({ page_size: 1000 }, ANNA),
    service.get(second as string, ANNA),
    service.create({ ...REQUEST, dst_offset: 4096 }, { ...ORIGIN, key: 'key-1' }),
  ].map((each) => each.finally(() => answered++));
  // In slices that part the rows of one.
  const rows = [...stored];
  while (rows.length > 0) {
    service.readHistory(rows.splice(0, 7));
    await turn();
  }
  expect(answered).toBe(0);
  service.historyKnown();
  const [page, one, again] = (await Promise.all(answers)) as [
    Awaited<ReturnType<typeof service.list>>,
    Replication,
    { replication: Replication; replayed: boolean },
  ];
  expect(page.replications).toHaveLength(count);
  expect(new Set(page.replications.map(({ status }) => status))).toEqual(new Set(['failed']));
  expect(page.replications.map(({ id }) => id)).toEqual(
    page.replications
      .map(({ id }) => id)
      .toSorted()
      .toReversed(),
  );
  expect(one.id).toBe(second);
  expect(again).toMatchObject({ replayed: true, replication: { id: second } });
});

test('what later work has written is not inconsistent after a restart either', async () => {
  const stored = history(7);
  await service.read(storedRows(stored));
  service.historyKnown();
  const device = makeDevice();
  const left = () =>
    service.inconsistent
      .rangesOf(device, { ...ANNA, grants: undefined })
      .map((range) => [...[range.offset / 1024, range.size / 1024]]);
  expect(left()).toEqual([
    [0, 4],
    [12, 4],
    [24, 4],
  ]);
  const ranges = [
    { offset: 0, size: 4096 },
    { offset: 13 * 1024, size: 1024 },
  ];
  service.inconsistent.written({ device, ranges, flush: true });
  const cut = [
    [12, 1],
    [14, 2],
    [24, 4],
  ];
  expect(left()).toEqual(cut);
  service.close();
  for (const [key, value] of disk.noted) {
    if (value === undefined) stored.delete(key);
    else stored.set(key, value);
  }
  service = makeService();
  const again = [...stored].sort(([a], [b]) => (a < b ? -1 : 1));
  await service.read(storedRows(new Map(again)));
  expect(left()).toEqual(cut);
  for (const row of again) service.readHistory([row]);
  service.historyKnown();
  expect(left()).toEqual(cut);
});

test('what is written before an earlier version’s replication is read is not marked by that again', async () => {
  const stored = history(1);
  for (const key of stored.keys()) if (key.endsWith('/inconsistent')) stored.delete(key);
  await service.read(storedRows(stored));
  const device = makeDevice();
  const bytes = { device, flush: true, ranges: [{ offset: 0, size: 1024 }] };
  service.inconsistent.written(bytes);
  service.inconsistent.written({ ...bytes, ranges: [{ offset: 1024, size: 1024 }], flush: false });
  for (const row of stored) service.readHistory([row]);
  service.historyKnown();
  const left = () => service.inconsistent.rangesOf(device, { ...ANNA, grants: undefined });
  expect(left()).toMatchObject([{ offset: 1024, size: 3072 }]);
  service.close();
  expect([...disk.noted.values()]).toEqual(['[[1024,3072]]', undefined]);
});

test('what a copy would have written is not inconsistent if it ends before it writes', async () => {
  await service.read(storedRows(history(1)));
  service.historyKnown();
  const source = makeDevice();
  const device = makeDevice({ name: 'dax1.0', identity: 'another' });
  const copyOf = (id: string, offset: number) => ({
    ...{ device, copy: { id: `00000000-0000-7000-8000-00000000${id}`, source } },
    ranges: [{ sourceOffset: 0, offset, size: 1024 }],
  });
  let waits = true;
  const writes = service.inconsistent.copying(copyOf('0001', 0), () => waits);
  disk.accepted();
  await writes;
  // It is cancelled while the disk is slow; what came behind it has written there by then.
  const ends = service.inconsistent.copying(copyOf('0002', 4096), () => waits);
  waits = false;
  disk.accepted();
  await ends;
  expect(service.inconsistent.rangesOf(device, { ...ANNA, grants: undefined })).toMatchObject([
    { offset: 0, size: 1024 },
  ]);
  // Nor after a restart.
  service.close();
  const rows = [...disk.noted].map(([key, row]) => [key.slice(-4), row === undefined]);
  expect(rows).toEqual(expect.arrayContaining([['0002', true]]));
  expect(rows).not.toContainEqual(['0001', true]);
});
