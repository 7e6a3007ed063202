// SPDX-License-Identifier: Apache-2.0

import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { type DmadClient, DmadError } from '../../../services/client/node.ts';
import type { TransferDocument } from '../../../services/daemon/transfers/schema.ts';
import { GroupCommit } from '../../../services/fleet/etcd/group-commit.ts';
import { Courier } from '../../../services/fleet/transfers/courier.ts';
import { OwnerWrites } from '../../../services/fleet/transfers/owner-writes.ts';
import {
  type EndedRecord,
  type RunningRecord,
  readEnded,
  readRunning,
  writeRunning,
} from '../../../services/fleet/transfers/record.ts';
import {
  type Settings,
  settingsOf,
  writeSettings,
} from '../../../services/fleet/transfers/settings.ts';
import { deepTest, runs } from '../../support/depth.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { ids, keys, recordOf } from '../../support/fleet-records.ts';
import { Random } from '../../support/random.ts';

/** A host that remembers keys, runs what is new, and may be away, or lose its answer. */
class FakeHost {
  readonly made = new Map<string, TransferDocument>();
  readonly operations = new Map<string, unknown>();
  /** In the order in which they began to run; comparisons are not among them. */
  readonly ran: string[] = [];
  readonly patches: object[] = [];
  fate: () => 'answers' | 'away' | 'loses its answer' = () => 'answers';
  refuses: (body: { size?: unknown }) => boolean = () => false;
  refusal = problem(422, 'out_of_range');
  status: 'running' | 'succeeded' = 'succeeded';
  /** Answers to requests wait for it. */
  answers: Promise<void> = Promise.resolve();
  /** Why it cannot be connected to while it is away. */
  connecting = 'ECONNREFUSED';
  /** What a host says of a transfer that it does not know. */
  unknown = problem(404, 'not_found');

  readonly client = {
    createTransfer: async (body: object, options: { idempotencyKey: string }) => {
      const [made] = await this.#make([{ ...body, idempotency_key: options.idempotencyKey }]);
      return made;
    },
    createTransfers: async (bodies: { idempotency_key: string }[]) => this.#make(bodies),
    getTransfer: async (id: string) => this.#byId(id),
    changeTransfer: async (id: string, patch: { priority?: unknown }) => {
      this.patches.push(patch);
      if (patch.priority) throw problem(409, 'not_changeable');
      return this.#byId(id);
    },
    cancelTransfer: async (id: string) => {
      const transfer = this.#byId(id);
      if (transfer.status !== 'running') throw problem(409, 'not_cancellable');
      return Object.assign(transfer, {
        status: 'cancelled',
        finished_at: '2026-11-27T00:00:00.000Z',
      });
    },
  } as unknown as DmadClient;

  async #make(
    bodies: { idempotency_key: string; size?: unknown; operation?: unknown }[],
  ): Promise<TransferDocument[]> {
    const fate = this.fate();
    await new Promise(setImmediate);
    if (fate === 'away') {
      await this.answers;
      const cause = Object.assign(new Error('connect'), { code: this.connecting });
      throw new DmadError({ code: 'unreachable', message: 'away', cause });
    }
    if (bodies.some((body) => this.refuses(body))) throw this.refusal;
    for (const { idempotency_key: key, operation } of bodies) {
      if (this.made.has(key) && operation !== this.operations.get(key)) {
        throw problem(422, 'idempotency_key_reused');
      }
      this.operations.set(key, operation);
    }
    const made = bodies.map(({ idempotency_key: key, operation }) => {
      const before = this.made.get(key);
      if (before !== undefined) return before;
      if (operation !== 'compare') this.ran.push(key);
      const transfer = { id: ids.next(), status: this.status } as TransferDocument;
      this.made.set(key, transfer);
      return transfer;
    });
    await new Promise(setImmediate);
    await this.answers;
    if (fate !== 'answers') throw new DmadError({ code: 'unreachable', message: 'ECONNRESET' });
    return made;
  }

  #byId(id: string): TransferDocument {
    const found = [...this.made.values()].find((each) => each.id === id);
    if (found === undefined) throw this.unknown;
    return found;
  }
}

function problem(status: number, code: DmadError['code']): DmadError {
  return new DmadError({ code, status, message: code });
}

describe('a courier', () => {
  const couriers: Courier[] = [];
  afterEach(() => {
    for (const courier of couriers.splice(0)) courier.stop();
  });

  async function setUp({
    owner = 'me',
    dependencies = Promise.resolve('succeeded' as const),
  }: {
    owner?: string;
    dependencies?: Promise<'succeeded'>;
  } = {}) {
    const etcd = new FakeEtcd();
    await etcd.write([], [{ put: keys.owner('hosta'), value: owner }]);
    const host = new FakeHost();
    const settings = new Map<string, Settings>();
    let lost = 0;
    let owned = true;
    const make = (member = 'me') => {
      const courier: Courier = new Courier({
        ...{ host: 'hosta', client: () => host.client, live: () => undefined },
        settings: (id) => settings.get(id),
        writes: new OwnerWrites({
          store: etcd,
          keys,
          commit: new GroupCommit(etcd),
          member: () => member,
        }),
        handedOver: () => {},
        owned: () => owned,
        dependencies: () => dependencies,
        lost: () => {
          lost++;
          courier.stop();
        },
      });
      couriers.push(courier);
      return courier;
    };
    const accept = async (record: RunningRecord) => {
      await etcd.write([], [{ put: keys.transfer(record.id), value: writeRunning(record) }]);
      return { record, created: 1 };
    };
    const endOf = (id: string): EndedRecord | undefined =>
      readEnded(etcd.rows.get(keys.ended(id))?.value ?? '');
    const ended = async (id: string) => {
      for (let tries = 0; tries < 2000; tries++) {
        const found = endOf(id);
        if (found !== undefined) return found;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      throw new Error(`${id} has not ended`);
    };
    const disown = () => {
      owned = false;
    };
    return { etcd, host, make, accept, ended, endOf, lost: () => lost, disown, settings };
  }

  test('hands over in order, and writes each end', async () => {
    const { etcd, host, make, accept, ended } = await setUp();
    const courier = make();
    const records = Array.from({ length: 250 }, () => recordOf());
    for (const record of records) courier.add(await accept(record), true);
    for (const { id } of records) {
      const { document } = await ended(id);
      expect(document).toMatchObject({ id, status: 'succeeded', host: 'hosta' });
      expect(etcd.rows.has(keys.transfer(id))).toBe(false);
    }
    expect(host.ran).toEqual(records.map(({ id }) => id));
  });

  deepTest(
    'each runs once and in order, though answers are lost, etcd fails, and owners change',
    async () => {
      const random = new Random();
      await random.explain(async () => {
        for (let run = 0; run < runs(100, 4); run++) {
          const { etcd, host, make, ended } = await setUp();
          host.fate = () =>
            random.pick(['answers', 'answers', 'away', 'loses its answer'] as const);
          etcd.fate = () => random.pick(['done', 'done', 'not_done', 'lost', 'unknown'] as const);
          etcd.delay = () => random.integer(0, 3);
          const records = Array.from({ length: 20 }, () => recordOf());
          const first = make();
          for (const record of records.slice(0, 10)) {
            etcd.rows.set(keys.transfer(record.id), {
              ...{ key: keys.transfer(record.id), value: writeRunning(record) },
              ...{ created: 1, lease: undefined },
            });
            first.add({ record, created: 1 }, true);
          }
          await new Promise((resolve) => setTimeout(resolve, random.integer(0, 200)));
          // Another gateway takes over, and the first does not know yet.
          const key = keys.owner('hosta');
          etcd.rows.set(key, { key, value: 'other', created: 2, lease: undefined });
          const second = make('other');
          for (const record of records) {
            const row = etcd.rows.get(keys.transfer(record.id));
            const known = row === undefined ? record : (readRunning(row.value) as RunningRecord);
            if (etcd.rows.has(keys.ended(record.id))) continue;
            etcd.rows.set(keys.transfer(record.id), {
              ...{ key: keys.transfer(record.id), value: writeRunning(known) },
              ...{ created: 1, lease: undefined },
            });
            second.add({ record: known, created: 1 }, false);
          }
          for (const { id } of records) expect((await ended(id)).document.status).toBe('succeeded');
          expect(host.ran).toEqual(records.map(({ id }) => id));
          first.stop();
          second.stop();
        }
      });
    },
  );

  test('a refusal ends the one that is refused, and frees its key', async () => {
    const { etcd, host, make, accept, ended } = await setUp();
    host.refuses = ({ size }) => size === 13;
    const used = keys.used('me', 'k');
    await etcd.write([], [{ put: used, value: '{}' }]);
    const records = [recordOf(), recordOf({ size: 13 }, { usedKey: 'k' }), recordOf()];
    const courier = make();
    for (const record of records) courier.add(await accept(record), true);
    const ends = await Promise.all(records.map(({ id }) => ended(id)));
    expect(ends.map(({ document }) => document.status)).toEqual([
      'succeeded',
      'failed',
      'succeeded',
    ]);
    expect(ends[1]).toMatchObject({ refused: true, document: { error: { code: 'out_of_range' } } });
    expect(etcd.rows.has(used)).toBe(false);
  });

  test('a device that is gone fails its own transfers, and holds up no others', async () => {
    const { host, make, accept, ended } = await setUp();
    host.refuses = ({ size }) => size === 13;
    host.refusal = problem(503, 'device_gone');
    const records = [recordOf({ size: 13 }), recordOf()];
    const courier = make();
    for (const record of records) courier.add(await accept(record), true);
    const ends = await Promise.all(records.map(({ id }) => ended(id)));
    expect(ends.map(({ document }) => document.error?.code)).toEqual(['device_gone', undefined]);
  });

  test('what has not reached an absent host is cancelled at once', async () => {
    const { host, make, accept, ended } = await setUp();
    host.fate = () => 'away';
    const record = recordOf();
    const courier = make();
    courier.add(await accept(record), true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    courier.cancel(record.id);
    expect((await ended(record.id)).document).toMatchObject({
      ...{ status: 'cancelled', error: { code: 'cancelled' } },
    });
    expect(host.ran).toEqual([]);
  });

  test('what may have reached a host is cancelled there', async () => {
    const { host, make, accept, ended } = await setUp();
    host.status = 'running';
    const fates = ['loses its answer', 'answers'] as const;
    let calls = 0;
    host.fate = () => fates[Math.min(calls++, 1)] as (typeof fates)[number];
    const record = recordOf();
    const courier = make();
    courier.add(await accept(record), true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    courier.cancel(record.id);
    expect((await ended(record.id)).document.status).toBe('cancelled');
    expect(host.ran).toEqual([record.id]);
  });

  test('what may have reached a host, and did not, never runs once it is cancelled', async () => {
    const { host, make, accept, ended } = await setUp();
    let back = () => {};
    host.answers = new Promise((resolve) => {
      back = resolve;
    });
    host.fate = () => 'away';
    const record = recordOf();
    const courier = make();
    // Another gateway had the host before.
    courier.add(await accept(record), false);
    courier.cancel(record.id);
    host.fate = () => 'answers';
    back();
    expect((await ended(record.id)).document).toMatchObject({
      ...{ status: 'cancelled', error: { code: 'cancelled' } },
    });
    // Its key is used up: a request that was still on its way is refused.
    expect(host.operations.get(record.id)).toBe('compare');
    const late = host.client.createTransfer(
      { device_name: 'dax0.0' },
      { idempotencyKey: record.id },
    );
    await expect(late).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    expect(host.ran).toEqual([]);
  });

  test('after a takeover, a cancellation does not wait for what the transfer waits for', async () => {
    const { host, make, accept, ended } = await setUp({ dependencies: new Promise(() => {}) });
    const record = recordOf({}, { waitsFor: [ids.next()] });
    const courier = make();
    courier.add(await accept(record), false);
    courier.cancel(record.id);
    expect((await ended(record.id)).document.status).toBe('cancelled');
    expect(host.ran).toEqual([]);
  });

  test('a host learns what was changed once it has the transfer; too late for a priority', async () => {
    const { etcd, host, make, accept, ended, settings } = await setUp();
    host.status = 'running';
    const record = recordOf({ labels: { old: 'x' } });
    const changed: Settings = {
      ...{ ...settingsOf(record.request), priority: 'high', timeout_ms: 5 },
      labels: { new: 'y' },
    };
    settings.set(record.id, changed);
    const change = keys.change(record.id);
    await etcd.write([], [{ put: change, value: writeSettings(changed) }]);
    const courier = make();
    courier.add(await accept(record), true);
    while (etcd.rows.has(change)) await new Promise((resolve) => setTimeout(resolve, 5));
    settings.delete(record.id);
    const labels = { old: null, new: 'y' };
    expect(host.patches).toEqual([
      { priority: 'high', timeout_ms: 5, labels },
      { timeout_ms: 5, labels },
    ]);
    courier.cancel(record.id);
    expect((await ended(record.id)).document.status).toBe('cancelled');
  });

  test('what was changed of one that has ended on its host before that heard of it stays changed', async () => {
    const { etcd, host, make, accept, ended, settings } = await setUp();
    host.status = 'running';
    const record = recordOf({ labels: { old: 'x' } });
    const changed: Settings = { ...settingsOf(record.request), labels: { new: 'y' } };
    settings.set(record.id, changed);
    const change = keys.change(record.id);
    await etcd.write([], [{ put: change, value: writeSettings(changed) }]);
    host.client.changeTransfer = async (id) => {
      const transfer = await host.client.getTransfer(id);
      Object.assign(transfer, { status: 'succeeded', finished_at: '2026-11-27T00:00:00.000Z' });
      throw problem(409, 'not_changeable');
    };
    make().add(await accept(record), true);
    const { document } = await ended(record.id);
    expect([document.status, document.labels]).toEqual(['succeeded', { new: 'y' }]);
    expect(etcd.rows.has(change)).toBe(false);
  });

  test('what its host refuses to change stays changed in the fleet, and the host is not asked again', async () => {
    const { etcd, host, make, accept, ended, settings } = await setUp();
    host.status = 'running';
    const record = recordOf();
    const changed: Settings = { ...settingsOf(record.request), labels: { new: 'y' } };
    settings.set(record.id, changed);
    const change = keys.change(record.id);
    await etcd.write([], [{ put: change, value: writeSettings(changed) }]);
    let asked = 0;
    host.client.changeTransfer = async () => {
      asked++;
      throw problem(400, 'invalid_request');
    };
    const courier = make();
    courier.add(await accept(record), true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([asked, etcd.rows.has(change)]).toEqual([1, true]);
    settings.set(record.id, { ...changed, timeout_ms: 5000 });
    courier.change(record.id);
    while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    courier.cancel(record.id);
    const { document } = await ended(record.id);
    expect([document.status, document.labels]).toEqual(['cancelled', { new: 'y' }]);
    expect(etcd.rows.has(change)).toBe(false);
  });

  test('that its host has it is written only if it does not end at once', async () => {
    const { etcd, host, make, accept, ended } = await setUp();
    const courier = make();
    const stored = (id: string) => readRunning(etcd.rows.get(keys.transfer(id))?.value ?? '');
    const brief = recordOf();
    courier.add(await accept(brief), true);
    await ended(brief.id);
    host.status = 'running';
    const long = recordOf();
    courier.add(await accept(long), true);
    while (stored(long.id)?.progress.is !== 'handed_over') {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const puts = etcd.written.flatMap(({ writes }) =>
      writes.flatMap((write) => ('put' in write ? [write.put] : [])),
    );
    const times = ({ id }: RunningRecord) => puts.filter((key) => key === keys.transfer(id)).length;
    // Each has been accepted, too.
    expect([times(brief), times(long)]).toEqual([1, 2]);
  });

  test('what could not be handed over within 20 h expires; a timeout counts before, too', async () => {
    const { host, make, accept, ended } = await setUp();
    host.fate = () => 'away';
    const old = recordOf({}, { acceptedAt: Date.now() - 20.1 * 3_600_000 });
    const late = recordOf({ timeout_ms: 1 }, { acceptedAt: Date.now() - 1000 });
    const courier = make();
    courier.add(await accept(old), false);
    courier.add(await accept(late), true);
    expect((await ended(old.id)).document.error?.code).toBe('expired');
    expect((await ended(late.id)).document.error?.code).toBe('timeout');
  });

  test.each(['connection refused', 'connect timeout'])(
    'a cancellation during a failing attempt to connect counts at once: %s',
    async (kind) => {
      const { host, make, accept, ended } = await setUp();
      let fail = () => {};
      host.answers = new Promise((resolve) => {
        fail = resolve;
      });
      host.fate = () => 'away';
      host.connecting = kind === 'connect timeout' ? 'UND_ERR_CONNECT_TIMEOUT' : 'ECONNREFUSED';
      const record = recordOf();
      const courier = make();
      courier.add(await accept(record), true);
      await new Promise((resolve) => setTimeout(resolve, 20));
      courier.cancel(record.id);
      fail();
      expect((await ended(record.id)).document.status).toBe('cancelled');
      host.fate = () => 'answers';
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(host.ran).toEqual([]);
    },
  );

  test('what a host forbids has failed, and holds up no others', async () => {
    const { host, make, accept, ended } = await setUp();
    host.refuses = ({ size }) => size === 13;
    host.refusal = new DmadError({
      ...{ code: 'forbidden', status: 403, message: 'no right to write there' },
      errors: [{ pointer: '/dst_offset', detail: 'no right to write there' }],
    });
    const records = [recordOf({ size: 13 }), recordOf(), recordOf()];
    const courier = make();
    for (const record of records) courier.add(await accept(record), true);
    const ends = await Promise.all(records.map(({ id }) => ended(id)));
    expect(ends.map(({ document }) => document.error?.code)).toEqual([
      ...['forbidden', undefined, undefined],
    ]);
  });

  test('a body that is too large for a proxy fails alone', async () => {
    const { host, make, accept, ended } = await setUp();
    host.refuses = ({ size }) => size === 13;
    host.refusal = problem(413, 'unexpected_answer');
    const records = [recordOf({ size: 13 }), recordOf()];
    const courier = make();
    for (const record of records) courier.add(await accept(record), true);
    const ends = await Promise.all(records.map(({ id }) => ended(id)));
    expect(ends.map(({ document }) => document.error?.code)).toEqual([
      'payload_too_large',
      undefined,
    ]);
  });

  test.each([
    [401, 'unauthenticated'],
    [403, 'forbidden'],
    [404, 'unexpected_answer'],
    [415, 'unexpected_answer'],
    [424, 'unexpected_answer'],
    [507, 'storage_full'],
  ] as const)(
    'what is not about the transfer keeps all waiting, in order: %d %s',
    async (status, code) => {
      const { host, make, accept, ended, endOf } = await setUp();
      let refusing = true;
      host.refuses = () => refusing;
      host.refusal = problem(status, code);
      const records = [recordOf(), recordOf(), recordOf()];
      const courier = make();
      for (const record of records) courier.add(await accept(record), true);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(records.map(({ id }) => endOf(id))).toEqual([undefined, undefined, undefined]);
      expect(courier.trouble).toBe(code);
      refusing = false;
      courier.wake();
      await Promise.all(records.map(({ id }) => ended(id)));
      expect(host.ran).toEqual(records.map(({ id }) => id));
    },
  );

  test('a transfer that its host has forgotten is interrupted, and never sent again', async () => {
    const { host, make, accept, ended } = await setUp();
    const record = recordOf({}, { progress: { is: 'handed_over', hostId: ids.next() } });
    make().add(await accept(record), false);
    expect((await ended(record.id)).document).toMatchObject({
      ...{ status: 'interrupted', error: { code: 'interrupted' } },
    });
    expect(host.ran).toEqual([]);
  });

  deepTest("a proxy's 404 ends nothing: the host is asked again", async () => {
    const { host, make, accept, ended, endOf } = await setUp();
    host.unknown = problem(404, 'unexpected_answer');
    const record = recordOf({}, { progress: { is: 'handed_over', hostId: ids.next() } });
    const courier = make();
    courier.add(await accept(record), false);
    courier.cancel(record.id);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(endOf(record.id)).toBeUndefined();
    host.unknown = problem(404, 'not_found');
    expect((await ended(record.id)).document.status).toBe('interrupted');
  });

  deepTest('what the host is being asked to take does not expire meanwhile', async () => {
    const { host, make, accept, ended, endOf } = await setUp();
    let answer = () => {};
    host.answers = new Promise((resolve) => {
      answer = resolve;
    });
    const record = recordOf({}, { acceptedAt: Date.now() - 20.1 * 3_600_000 });
    make().add(await accept(record), true);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(endOf(record.id)).toBeUndefined();
    answer();
    expect((await ended(record.id)).document.status).toBe('succeeded');
  });

  test('hands over nothing once it may have lost its host', async () => {
    const { host, make, accept, disown } = await setUp();
    host.refuses = () => true;
    host.refusal = problem(503, 'overloaded');
    const courier = make();
    courier.add(await accept(recordOf()), true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    disown();
    host.refuses = () => false;
    courier.wake();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(host.ran).toEqual([]);
  });

  test('finishes once the host has answered, and hands over nothing after', async () => {
    const { host, make, accept } = await setUp();
    let answer = () => {};
    host.answers = new Promise((resolve) => {
      answer = resolve;
    });
    const courier = make();
    const [first, second] = [recordOf(), recordOf()];
    courier.add(await accept(first), true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    let finished = false;
    const finish = courier.finish().then(() => {
      finished = true;
    });
    courier.add(await accept(second), true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(finished).toBe(false);
    answer();
    await finish;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(host.ran).toEqual([first.id]);
  });

  test('20 h pass even if the clock of the gateway that accepted it is ahead', async () => {
    const { host, make, accept, ended } = await setUp();
    host.fate = () => 'away';
    const record = recordOf({}, { acceptedAt: Date.now() + 3_600_000 });
    const now = jest.spyOn(performance, 'now');
    now.mockReturnValue(1000);
    make().add(await accept(record), true);
    now.mockReturnValue(1000 + 20.1 * 3_600_000);
    expect((await ended(record.id)).document.error?.code).toBe('expired');
    now.mockRestore();
  });

  test('one that does not own its host changes nothing in etcd', async () => {
    const { make, accept, endOf, lost } = await setUp({ owner: 'other' });
    const record = recordOf();
    make().add(await accept(record), true);
    while (lost() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(endOf(record.id)).toBeUndefined();
  });
});
