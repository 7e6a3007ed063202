// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { TransferIds } from '../../../services/base/transfer-ids.ts';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import { ElapsedClock, readClocks } from '../../../services/daemon/journal/elapsed.ts';
import { KNOWS_CHANGES } from '../../../services/daemon/journal/format.ts';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import {
  readRecords,
  requestOf,
  Shared,
  type TransferRecord,
  transferOf,
} from '../../../services/daemon/transfers/record.ts';
import { recover, recoverPast } from '../../../services/daemon/transfers/recovery.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import {
  acceptedRows,
  begunRows,
  endedRows,
  keysOf,
  rowsOf as rowsOfTransfer,
} from '../../../services/daemon/transfers/rows.ts';
import { type Outcome, Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import {
  acceptedAgo,
  CLOCK,
  completion,
  makeDevice,
  makeOrigin,
  makePlan,
  makeTransfer,
} from './make-transfer.ts';

type Row = [string, string];
const rowsOf = (...all: ReadonlyMap<string, string | undefined>[]) =>
  all.flatMap((rows) => [...rows] as Row[]).sort(([a], [b]) => (a < b ? -1 : 1));
const read = (rows: Row[]) => readRecords(rows, (key) => assert.fail(key));

const segment = fc.record({
  src_offset: fc.nat(2 ** 31 - 1),
  dst_offset: fc.maxSafeNat(),
  size: fc.integer({ min: 1, max: 1000 }),
});
const plan = fc.record({
  source: fc.constantFrom(makeDevice(), makeDevice({ name: 'dax1.0', kind: 'devdax' })),
  destination: fc.constantFrom(makeDevice(), makeDevice({ name: 'dax2.0', flushBasis: 'none' })),
  segments: fc.array(segment, { minLength: 1, maxLength: 5 }),
  requestedEngine: fc.constantFrom('auto', 'cpu', 'dma'),
  choice: fc.record({ engine: fc.constantFrom('cpu', 'dma'), reason: fc.string() }),
  priority: fc.constantFrom('high', 'normal', 'low'),
  flush: fc.boolean(),
  verify: fc.boolean(),
  timeoutMs: fc.option(fc.integer({ min: 1, max: 86_400_000 }), { nil: undefined }),
  // Of that name no request has a member: see http/json-limits.ts.
  labels: fc.dictionary(
    fc.string({ minLength: 1 }).filter((key) => key !== '__proto__'),
    fc.string(),
    { maxKeys: 3 },
  ),
});
const origin = fc.record({
  requestId: fc.uuid(),
  client: fc.string(),
  key: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  trace: fc.constantFrom(
    undefined,
    { traceparent: 'some trace' },
    { traceparent: 'some trace', tracestate: 'a=1' },
  ),
});
const error = fc.option(
  fc.constantFrom(
    new Problem('media_error', 'The medium.'),
    new Problem('cancelled', 'By a client.'),
    new Problem('dma_error', 'A channel.', {
      dma: { error: 'read', channel: 'dma0chan0', retries: 1 },
    }),
    new Problem('timeout', 'Late.', { errors: [{ pointer: '/x', detail: 'y' }] }),
  ),
  { nil: undefined },
);

describe('rows of a transfer', () => {
  test('give back the same document, whatever it is', () => {
    fc.assert(
      fc.property(
        ...[plan, origin, error, fc.boolean(), fc.boolean()],
        fc.nat(1_000_000),
        (given, from, failure, ran, segmented, agoMs) => {
          const segments = segmented ? given.segments : given.segments.slice(0, 1);
          const made = makePlan({ ...(given as object), segments, segmented });
          const transfer = new Transfer(uuidv7(), made, from, CLOCK, acceptedAgo(agoMs + 0.123));
          if (ran) transfer.start({ engine: 'cpu', reason: 'the channels have gone', cpuBytes: 0 });
          const told = completion({ sourceCrc: 1, destinationCrc: 2 ** 32 - 1, bytesDone: 77 });
          const outcome = transfer.outcome(ran ? told : undefined, failure, ['dma0chan0']);
          transfer.finish(outcome);
          const [record] = read(
            rowsOf(acceptedRows(transfer), endedRows(transfer, transfer.end as Outcome)),
          );
          assert.ok(record);
          const back = transferOf(record, CLOCK);
          assert.deepEqual(
            JSON.parse(JSON.stringify(documentOf(back))),
            JSON.parse(JSON.stringify(documentOf(transfer))),
          );
          assert.deepEqual(back.origin, { ...transfer.origin });
          assert.ok(Math.abs(back.ageMs - transfer.ageMs) < 5000);
        },
      ),
      { numRuns: runs(300) },
    );
  });

  test('give back the request, as its schema would have read it', () => {
    const body = { device_name: 'dax0.0', src_offset: 1, dst_offset: 9, size: 8 };
    const segments = [{ src_offset: 1, dst_offset: 9, size: 8 }];
    for (const segmented of [false, true]) {
      const [record] = read(rowsOf(acceptedRows(makeTransfer({ segments, segmented }))));
      const { device_name } = body;
      expect(record && requestOf(record)).toEqual({
        ...transferRequestSchema.parse(segmented ? { device_name, segments } : body),
        ...{ dst_device_name: 'dax0.0', durability: 'flush', verify: 'none' },
      });
    }
  });

  test.each([
    { operation: 'fill', device_name: 'dax0.0', dst_offset: 9, size: 8, pattern: 'abcd' },
    { operation: 'compare', device_name: 'dax0.0', src_offset: 1, dst_offset: 9, size: 8 },
  ] as const)('give back a $operation that its schema takes again', ({ operation, ...rest }) => {
    const { pattern } = rest as { pattern?: string };
    const src_offset = operation === 'fill' ? 0 : 1;
    const transfer = makeTransfer({
      ...{ operation, pattern, segments: [{ src_offset, dst_offset: 9, size: 8 }] },
    });
    const [record] = read(rowsOf(acceptedRows(transfer)));
    const request = transferRequestSchema.parse(record && requestOf(record));
    expect(request).toMatchObject({ operation, ...rest });
    expect(record?.accepted.pattern).toBe(pattern);
  });

  test('say whether it has begun, and belong together by their ids', () => {
    const transfers = [makeTransfer(), makeTransfer(), makeTransfer()];
    const [first, second, third] = transfers as [Transfer, Transfer, Transfer];
    const rows = rowsOf(
      acceptedRows(third),
      begunRows(third, 0),
      acceptedRows(first),
      ...[acceptedRows(second), begunRows(second, 2)],
      new Map([['format', '1']]),
    );
    expect(read(rows).map(({ id, begun }) => [id, begun])).toEqual([
      [first.id, undefined],
      [second.id, { reruns: 2 }],
      [third.id, { reruns: 0 }],
    ]);
    const keys = rows.map(([key]) => key).filter((key) => key !== 'format');
    expect(transfers.flatMap((transfer) => keysOf(rowsOfTransfer(transfer)))).toEqual(
      expect.arrayContaining(keys),
    );
  });

  test('that an earlier version wrote when it had begun are read', () => {
    const { id } = makeTransfer();
    const transfer = makeTransfer({}, id);
    const [record] = read([...rowsOf(acceptedRows(transfer)), [`${id}/begun`, 'true']]);
    expect(record).toMatchObject({ begun: { reruns: 0 }, foreign: [] });
  });

  test.each([
    ['accepted', { priority: 'urgent' }],
    [
      'accepted',
      { priority: 'urgent', labels: { a: 1 }, segments: 'all', choice: { engine: 'x' } },
    ],
    ['ended', { status: 'paused' }],
    ['begun', { phase: 2 }],
    ['moved', {}],
  ])(
    'that a later version wrote are kept, and interrupt what is unfinished: %s %j',
    (part, members) => {
      const transfer = makeTransfer({ labels: { a: 'b' } });
      const accepted = JSON.parse(rowsOf(acceptedRows(transfer))[0]?.[1] as string);
      const foreign = `${transfer.id}/${part}`;
      const value = JSON.stringify({ ...(part === 'accepted' && accepted), ...members });
      const rows = new Map([...rowsOf(acceptedRows(transfer)), [foreign, value] as Row]);
      const [record] = read([...rows]);
      assert.ok(record);
      const recovered = recover(record, {
        ...{
          inventory: new Inventory([]),
          chooser: {} as never,
          doubt: undefined,
          writer: KNOWS_CHANGES,
          clock: CLOCK,
        },
        host: readClocks(),
      });
      expect(recovered).toMatchObject({
        kind: 'interrupted',
        error: { code: 'interrupted', message: expect.stringContaining('later version') },
        foreign: [foreign],
      });
      const document = documentOf(recovered.transfer);
      expect(document).toMatchObject({ id: transfer.id, device_name: 'dax0.0' });
      expect(recovered.transfer.origin).toEqual(transfer.origin);
    },
  );

  test('that say nothing are left out, and told', () => {
    const [good, orphan, bad] = [makeTransfer(), makeTransfer(), makeTransfer()];
    const outcome = good.outcome(undefined, undefined);
    const unreadable: string[] = [];
    const rows: Row[] = [
      ...rowsOf(acceptedRows(good)),
      [`${good.id}/ended`, '{"status":"lost"}'],
      ...rowsOf(endedRows(orphan, outcome)),
      [`${bad.id}/accepted`, '{"torn'],
    ];
    const records = readRecords(rows, (key) => unreadable.push(key));
    // What became of it is not known, so it must not be taken for one that did not end.
    expect(records).toMatchObject([
      { id: good.id, foreign: [`${good.id}/ended`], outcome: undefined },
    ]);
    expect(recoverPast(records[0] as TransferRecord, CLOCK, new Shared())).toMatchObject({
      kind: 'interrupted',
      error: { code: 'interrupted', message: expect.stringContaining('cannot be read') },
    });
    expect(unreadable).toEqual([`${orphan.id}/ended`, `${bad.id}/accepted`]);
  });
});

describe('when the wall clock is set', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });
  const setClock = (ms: number) => jest.spyOn(Date, 'now').mockReturnValue(ms);

  test('ids go on in order, in one life and in the next', () => {
    const ids = new TransferIds();
    const now = Date.now();
    const made: string[] = [];
    for (const clock of [now, now, now - 3_600_000, now + 1, now - 5, now + 3_600_000, 0]) {
      setClock(clock);
      made.push(ids.next(), ids.next());
    }
    const next = new TransferIds();
    for (const id of made) next.passOver(id);
    made.push(next.next(), next.next());
    expect([...made].sort()).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
  });

  test.each([-86_400_000, 86_400_000, 400 * 86_400_000])(
    'by %i ms between two lives, times and ages stay as they were',
    (ms) => {
      const now = Date.now();
      const clock = new ElapsedClock();
      const transfer = new Transfer(
        ...([uuidv7(), makePlan({ timeoutMs: 5000 }), makeOrigin('k'), clock] as const),
        acceptedAgo(1000, clock),
      );
      const rows = rowsOf(acceptedRows(transfer));
      const anchor = clock.row();
      setClock(now + ms);
      const [record] = read(rows);
      assert.ok(record);
      const back = transferOf(record, new ElapsedClock(anchor as Map<string, string>));
      const { created_at } = documentOf(back);
      expect(created_at).toBe(documentOf(transfer).created_at);
      expect(Math.abs(back.ageMs - 1000)).toBeLessThan(500);
      back.finish(back.outcome(undefined, undefined));
      const finished = Date.parse(documentOf(back).finished_at ?? '');
      expect(finished).toBeGreaterThanOrEqual(Date.parse(created_at) + 1000);
    },
  );
});

test('the end of what was accepted long ago can be written and read', () => {
  for (const days of [50, 200, 40_000]) {
    const accepted = acceptedAgo(days * 86_400_000);
    const old = new Transfer(uuidv7(), makePlan(), makeOrigin(), CLOCK, accepted);
    old.start(old.choice);
    const outcome = old.outcome(completion(), undefined);
    const [record] = read(rowsOf(acceptedRows(old), begunRows(old, 0), endedRows(old, outcome)));
    expect(record).toMatchObject({ foreign: [], outcome: { status: 'succeeded' } });
  }
});

test('a row of a version that had no clock of the journal is as old as the wall clock says', () => {
  const transfer = new Transfer(uuidv7(), makePlan(), makeOrigin(), CLOCK, acceptedAgo(5000));
  const [[key, value] = ['', '']] = rowsOf(acceptedRows(transfer));
  const { accepted_elapsed_ms: _, ...older } = JSON.parse(value);
  const [record] = read([[key, JSON.stringify(older)]]);
  assert.ok(record);
  expect(Math.abs(transferOf(record, new ElapsedClock()).ageMs - 5000)).toBeLessThan(500);
});
