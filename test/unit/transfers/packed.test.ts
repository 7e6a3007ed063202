// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import { History } from '../../../services/daemon/transfers/history.ts';
import { transferListQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { PackedTransfers } from '../../../services/daemon/transfers/packed.ts';
import { rowsOf } from '../../../services/daemon/transfers/rows.ts';
import {
  type EngineReport,
  type Outcome,
  Transfer,
  type TransferPlan,
} from '../../../services/daemon/transfers/transfer.ts';
import { weightOf } from '../../../services/daemon/transfers/weight.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { cpuClock } from '../../support/cpu-time.ts';
import { deepTest, runs } from '../../support/depth.ts';
import { acceptedAgo, CLOCK, makeDevice, makePlan, makeTransfer, viewer } from './make-transfer.ts';

/** With the prototypes that JSON gives. */
const record = <T>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }) =>
  fc.record<T>(model, { noNullPrototype: true });

const DEVICES = [makeDevice(), makeDevice({ name: 'dax1.0', flushBasis: 'none' })] as const;
const labels = fc.dictionary(
  fc.string({ minLength: 1, unit: 'grapheme' }).filter((key) => key !== '__proto__'),
  fc.string({ unit: 'grapheme' }),
  { maxKeys: 3, noNullPrototype: true },
);
const priority = fc.constantFrom('high' as const, 'normal' as const, 'low' as const);
const timeoutMs = fc.option(fc.integer({ min: 1, max: 86_400_000 }), { nil: undefined });
const choice = record({
  engine: fc.constantFrom('cpu' as const, 'dma' as const),
  reason: fc.string({ unit: 'grapheme' }),
  cpuBytes: fc.constant(0),
});
const segment = record({
  src_offset: fc.maxSafeNat(),
  dst_offset: fc.maxSafeNat(),
  size: fc.integer({ min: 1, max: 2 ** 40 }),
});
const plan: fc.Arbitrary<TransferPlan> = record({
  operation: fc.constantFrom('copy' as const, 'fill' as const, 'compare' as const),
  pattern: fc.option(fc.constantFrom('00', 'abcd'), { nil: undefined }),
  source: fc.constantFrom(...DEVICES),
  destination: fc.constantFrom(...DEVICES),
  segments: fc.oneof(
    { weight: 9, arbitrary: fc.array(segment, { minLength: 1, maxLength: 20 }) },
    {
      weight: 1,
      arbitrary: fc.constant(Array(4096).fill({ src_offset: 1, dst_offset: 2, size: 3 })),
    },
  ),
  segmented: fc.boolean(),
  requestedEngine: fc.constantFrom('auto' as const, 'cpu' as const, 'dma' as const),
  choice,
  priority,
  flush: fc.boolean(),
  verify: fc.boolean(),
  timeoutMs,
  labels,
  dependsOn: fc.array(fc.uuid(), { maxLength: 3 }),
}).map((members) => makePlan(members));
const origin = record({
  requestId: fc.oneof(fc.uuid(), fc.string({ unit: 'grapheme' })),
  client: fc.constantFrom('anna', 'bert', 'étienne'),
  key: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  trace: fc.constantFrom(
    undefined,
    { traceparent: 'some trace' },
    { traceparent: 'some trace', tracestate: 'a=1' },
  ),
});
const error = fc.constantFrom(
  undefined,
  new Problem('cancelled', 'By a client.'),
  new Problem('device_gone', 'It has gone.', { headers: { 'retry-after': '30' } }),
  new Problem('dma_error', 'A channel.', {
    dma: { error: 'read', channel: 'dma0chan0', retries: 1 },
    status: 507,
    members: { a: [1] },
  }),
  new Problem('timeout', 'Late.', { errors: [{ pointer: '/x', detail: 'y' }] }),
);
const report: fc.Arbitrary<EngineReport> = record({
  copyNs: fc.maxSafeNat(),
  flushNs: fc.maxSafeNat(),
  verifyNs: fc.nat(),
  segment: fc.nat(4095),
  sourceCrc: fc.constantFrom(0, 1, 2 ** 32 - 1),
  destinationCrc: fc.constantFrom(0, 1, 2 ** 32 - 1),
  difference: fc.option(fc.maxSafeNat(), { nil: undefined }),
  dma: record({ retries: fc.nat(9) }),
});
const settings = record({ priority, timeoutMs, labels });
const finished = record({
  plan,
  origin,
  error,
  agoMs: fc.nat(1_000_000),
  end: record({
    choice,
    channels: fc.array(fc.constantFrom('dma0chan0', 'dma1chan3'), { maxLength: 2 }),
    bytesCompleted: fc.maxSafeNat(),
    startedNs: fc.option(fc.nat(), { nil: undefined }),
    finishedNs: fc.integer(),
    completion: fc.option(report, { nil: undefined }),
  }),
  change: fc.option(record({ number: fc.integer({ min: 1, max: 9 }), settings }), {
    nil: undefined,
  }),
  events: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
  acknowledged: fc.boolean(),
}).map(({ plan: made, origin: from, agoMs, error: problem, end, change, events, acknowledged }) => {
  const transfer = new Transfer(uuidv7(), made, from, CLOCK, acceptedAgo(agoMs));
  [transfer.acceptedEvent, transfer.runningEvent, transfer.latestEvent] = events;
  transfer.change = change;
  transfer.acknowledged = acknowledged;
  const { status } = transfer.outcome(undefined, problem);
  const verified = end.completion?.segment ?? 0;
  const segments = Math.min(verified, made.segments.length - 1);
  const completion = end.completion && { ...end.completion, segment: segments };
  transfer.finish({ ...end, completion, status, error: problem } as Outcome);
  return transfer;
});

/** All that anybody could see of it. */
function seen(transfer: Transfer) {
  const { plan: made, origin: from, choice: chosen, settings: now, error: problem } = transfer;
  return {
    document: documentOf(transfer),
    ...{ plan: made, origin: from, choice: chosen, settings: now, change: transfer.change },
    ...{ acknowledged: transfer.acknowledged, end: transfer.end, accepted: transfer.accepted },
    events: [transfer.acceptedEvent, transfer.runningEvent, transfer.latestEvent],
    weight: weightOf(transfer),
    error: problem && { ...problem, message: problem.message, status: problem.status },
  };
}

test('finished transfers come back as they were, however they come and go', () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: record({ add: finished }) },
    { weight: 1, arbitrary: record({ remove: fc.nat() }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const packed = new PackedTransfers(CLOCK);
      const model = new Map<number, Transfer>();
      for (const one of steps) {
        if ('add' in one) {
          const number = packed.add(one.add);
          assert.ok(!model.has(number));
          model.set(number, one.add);
        } else {
          const number = [...model.keys()][one.remove % Math.max(1, model.size)];
          if (number === undefined) continue;
          model.delete(number);
          packed.remove(number);
        }
      }
      for (const [number, transfer] of model) {
        const back = packed.get(number);
        assert.deepEqual(seen(back), seen(transfer));
        assert.deepEqual(packed.rowsOf(number), rowsOf(transfer));
        assert.equal(packed.clientOf(number), transfer.origin.client);
        assert.equal(packed.weightOf(number), weightOf(transfer));
        assert.equal(packed.segmentsOf(number), transfer.plan.segments.length);
        assert.equal(packed.isAcknowledged(number), transfer.acknowledged);
        assert.equal(packed.statusOf(number), transfer.status);
        const subject = packed.subjectOf(number);
        assert.equal(subject.choice.engine, transfer.choice.engine);
        assert.equal(subject.plan.operation, transfer.plan.operation);
        assert.equal(subject.plan.source.name, transfer.plan.source.name);
        assert.equal(subject.plan.destination.name, transfer.plan.destination.name);
        assert.equal(subject.accepted.wallMs, transfer.accepted.wallMs);
        assert.deepEqual({ ...subject.settings.labels }, { ...transfer.settings.labels });
        // The two were made by the same clock, at different moments.
        assert.ok(Math.abs(back.finishedNs - transfer.finishedNs) < 5e9);
      }
    }),
    { numRuns: runs(300) },
  );
});

/** A transfer as a simple history would keep it. */
interface Known {
  transfer: Transfer;
  state: 'unfinished' | 'finished' | 'forgotten';
  held: boolean;
}

/** Of the client that has most, the oldest goes first. */
class SimpleShelves {
  readonly #limits = { transfers: 4, segments: 60 };
  readonly #byClient = new Map<string, Known[]>();

  add(known: Known): void {
    const { client } = known.transfer.origin;
    this.#byClient.set(client, [...(this.#byClient.get(client) ?? []), known]);
    this.#shrink((shelf) => shelf.length, this.#limits.transfers);
    const weigh = (shelf: Known[]) =>
      shelf.reduce((sum, { transfer }) => sum + weightOf(transfer), 0);
    this.#shrink(weigh, this.#limits.segments);
  }

  #shrink(amountOf: (shelf: Known[]) => number, limit: number): void {
    while ([...this.#byClient.values()].reduce((sum, one) => sum + amountOf(one), 0) > limit) {
      const most = [...this.#byClient].toSorted((a, b) => amountOf(b[1]) - amountOf(a[1]))[0];
      const [client, [oldest, ...others]] = most as [string, [Known, ...Known[]]];
      oldest.state = 'forgotten';
      if (others.length > 0) this.#byClient.set(client, others);
      else this.#byClient.delete(client);
    }
  }
}

test('a history has what a simple one would have, whatever is added, held and released', async () => {
  const limits = { transfers: 4, segments: 60, ms: Number.POSITIVE_INFINITY };
  const step = fc.oneof(
    record({ kind: fc.constant('add' as const), transfer: finished, hold: fc.boolean() }),
    record({ kind: fc.constant('end' as const), which: fc.nat(30) }),
    record({ kind: fc.constant('release' as const), which: fc.nat(30) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const forgotten: string[] = [];
      const history = new History({ answered: limits, accepted202: limits }, CLOCK, ({ id }) =>
        forgotten.push(id),
      );
      const all: Known[] = [];
      const shelves = { answered: new SimpleShelves(), accepted202: new SimpleShelves() };
      const shelve = (known: Known) =>
        shelves[known.transfer.acknowledged ? 'accepted202' : 'answered'].add(known);
      for (const one of steps) {
        if (one.kind === 'add') {
          all.push({ transfer: one.transfer, state: 'unfinished', held: one.hold });
          history.add(one.transfer, one.hold);
          continue;
        }
        const known = all[one.which];
        if (known === undefined) continue;
        const { id } = known.transfer;
        if (one.kind === 'end' && known.state === 'unfinished') {
          history.finish(known.transfer);
          history.mayForget(id);
          known.state = 'finished';
          if (!known.held) shelve(known);
        } else if (one.kind === 'release' && known.held) {
          known.held = false;
          history.release(id);
          if (known.state === 'finished') shelve(known);
        }
      }
      for (const { transfer, state } of all) {
        const found = history.get(transfer.id);
        assert.equal(found !== undefined, state !== 'forgotten');
        assert.equal(forgotten.includes(transfer.id), state === 'forgotten');
        if (found !== undefined) assert.deepEqual(seen(found), seen(transfer));
      }
      const { transfers } = await history.page(
        transferListQuerySchema.parse({ page_size: '1000' }),
        viewer('anyone', 'transfers:all'),
      );
      const left = all.filter(({ state }) => state !== 'forgotten');
      assert.deepEqual(
        transfers.map(({ id }) => id),
        left
          .map(({ transfer }) => transfer.id)
          .sort()
          .reverse(),
      );
    }),
    { numRuns: runs(300) },
  );
});

deepTest('a list of 100,000 finished transfers with any filter is read in time', async () => {
  const roomy = { transfers: 200_000, segments: 1_000_000, ms: Number.POSITIVE_INFINITY };
  const history = new History({ answered: roomy, accepted202: roomy }, CLOCK, () => {});
  for (let n = 0; n < 100_000; n++) {
    const members = n % 10 === 0 ? { labels: { a: `${n}` } } : {};
    const transfer = makeTransfer(members);
    history.add(transfer, false);
    transfer.finish(transfer.outcome(undefined, undefined));
    history.finish(transfer);
  }
  for (const query of [{ device_name: 'dax9.0' }, { label: 'a:x' }, { engine: 'dma' }]) {
    const cpuMs = cpuClock();
    const page = await history.page(transferListQuerySchema.parse(query), viewer('anna'));
    expect(page).toEqual({ transfers: [], nextPageToken: '' });
    // Some 100 ms.
    expect(cpuMs()).toBeLessThan(5000);
  }
});
