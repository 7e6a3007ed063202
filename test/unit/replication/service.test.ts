// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import type { Inventory } from '../../../services/daemon/devices/device.ts';
import type { StoredRows } from '../../../services/daemon/journal/stored-rows.ts';
import { Replication } from '../../../services/daemon/replication/replication.ts';
import { acceptedRows, endedRows } from '../../../services/daemon/replication/rows.ts';
import { replicationRequestSchema } from '../../../services/daemon/replication/schema.ts';
import {
  ReplicationService,
  type ReplicationServiceOptions,
} from '../../../services/daemon/replication/service.ts';
import { OutcomeUnknown, Problem } from '../../../services/http/problems/problem.ts';
import { CLOCK, makeDevice } from '../transfers/make-transfer.ts';

const REQUEST = replicationRequestSchema.parse({
  ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
  ...{ dst_offset: 0, size: 4096 },
});
const ORIGIN = { requestId: 'r', client: 'anna', key: 'k', trace: undefined };
const ANNA = { name: 'anna', scopes: new Set<never>() };
const REFUSAL = new Problem('storage_full', 'full');

/** A disk that decides when it is told to. */
class Disk {
  accepted = () => {};
  refused = (_problem: Problem) => {};
  undecided = (_problem: Problem) => {};
  readonly recorded: string[] = [];

  accept(_rows: unknown, undecided: (problem: Problem) => void): Promise<void> {
    this.undecided = undecided;
    return new Promise((accepted, refused) => {
      this.accepted = accepted;
      this.refused = refused;
    });
  }

  async record(rows: Map<string, string>): Promise<boolean> {
    this.recorded.push(...rows.keys());
    return true;
  }
}

let disk: Disk;
let service: ReplicationService;
let released: number;
beforeEach(() => {
  disk = new Disk();
  released = 0;
  let ids = 0;
  const inventory = { named: () => makeDevice() } as unknown as Inventory;
  service = new ReplicationService({
    ...{ inventory, clock: CLOCK, journal: disk, log: silentLog().logger },
    peers: { find: () => ({}) },
    ids: {
      passOver: () => {},
      next: () => `00000000-0000-7000-8000-${String(ids++).padStart(12, '0')}`,
    },
    queue: {
      ...{ admitTransfers: () => {}, add: () => ({}), waitOf: () => undefined },
      release: () => released++,
    },
    observer: { finished: () => {}, received: () => {} },
  } as unknown as ReplicationServiceOptions);
});
afterEach(() => service.close());

const turn = () => new Promise((resolve) => setImmediate(resolve));
const all = () => service.list({ page_size: 10 }, ANNA).replications;

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
  expect(all()).toHaveLength(1);
});

test.each([false, true])(
  'a cancel meanwhile counts once it is accepted (late: %s)',
  async (late) => {
    const created = service.create(REQUEST, ORIGIN).catch((error) => error);
    const [replication] = all();
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

test('a cancel of what stays undecided ends when the daemon does', async () => {
  const created = service.create(REQUEST, ORIGIN).catch((error) => error);
  const cancelled = service.cancel(all()[0]?.id as string, ANNA);
  disk.undecided(REFUSAL);
  expect(await created).toBeInstanceOf(OutcomeUnknown);
  await turn();
  await service.interrupt();
  await expect(cancelled).rejects.toMatchObject({ code: 'not_cancellable' });
});

test('a cancel of what is then refused finds nothing', async () => {
  const created = service.create(REQUEST, ORIGIN);
  const cancelled = service.cancel(all()[0]?.id as string, ANNA);
  disk.refused(REFUSAL);
  await expect(created).rejects.toBe(REFUSAL);
  await expect(cancelled).rejects.toMatchObject({ code: 'not_found' });
  expect(released).toBe(1);
});

test('a long history is read in slices, and other work goes on meanwhile', async () => {
  const count = 1000;
  const stored = new Map<string, string>();
  for (let i = 0; i < count; i++) {
    const id = `00000000-0000-7000-8000-${String(i).padStart(12, '0')}`;
    const replication = new Replication(id, REQUEST, makeDevice(), ORIGIN, CLOCK);
    if (i % 3 === 0) replication.progress.consistency = 'inconsistent';
    const rows = [
      ...acceptedRows(replication),
      ...endedRows(replication, replication.end(REFUSAL)),
    ];
    for (const [key, value] of rows) if (value !== undefined) stored.set(key, value);
  }
  const rows = {
    keys: [...stored.keys()].sort(),
    get: async (keys: string[]) => keys.map((key) => [key, stored.get(key)]),
  } as unknown as StoredRows;
  let turns = 0;
  let reading = true;
  const otherWork = () => {
    turns++;
    if (reading) setImmediate(otherWork);
  };
  otherWork();
  expect(await service.read(rows)).toEqual([]);
  reading = false;
  expect(turns).toBeGreaterThan(5);
  const { replications } = service.list({ page_size: 1000 }, ANNA);
  expect(replications).toHaveLength(count);
  expect(new Set(replications.map(({ status }) => status))).toEqual(new Set(['failed']));
});
