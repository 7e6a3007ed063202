// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import { IdempotencyKeys } from '../../../services/daemon/transfers/idempotency.ts';
import { IDEMPOTENCY_KEY, readKey } from '../../../services/daemon/transfers/idempotency-key.ts';
import { planTransfer } from '../../../services/daemon/transfers/plan.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import { Transfer, type TransferPlan } from '../../../services/daemon/transfers/transfer.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { acceptedAgo, CLOCK, makeDevice, makeOrigin, makePlan } from './make-transfer.ts';

const DAY_MS = 24 * 3600 * 1000;
const inventory = new Inventory([
  makeDevice({ name: 'dax0.0', handle: 0 }),
  makeDevice({ name: 'dax1.0', handle: 1 }),
]);
const chooser = makeChooser('auto', noDma());
const plan = (body: object): TransferPlan =>
  planTransfer(transferRequestSchema.parse(body), inventory, chooser);

const BODY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 65_536, size: 4096 };

describe('IdempotencyKeys', () => {
  let forgotten: string[];
  let keys: IdempotencyKeys;
  beforeEach(() => {
    forgotten = [];
    keys = new IdempotencyKeys((id) => forgotten.push(id));
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  function remember(key: string, given: TransferPlan, agoMs = 0): Transfer {
    const accepted = acceptedAgo(agoMs);
    const origin = makeOrigin(key, 'client');
    const transfer = new Transfer(`id of ${key}`, given, origin, CLOCK, accepted);
    keys.remember(transfer);
    return transfer;
  }

  function end(transfer: Transfer, agoMs: number): Transfer {
    const outcome = transfer.outcome(undefined, undefined);
    transfer.finish({ ...outcome, finishedNs: (transfer.ageMs - agoMs) * 1e6 });
    keys.finish(transfer);
    return transfer;
  }

  test('with a small heap, fewer are remembered', () => {
    keys = new IdempotencyKeys(() => {}, { heapBytes: 5 * 2 ** 20 });
    const given = plan(BODY);
    let known = 0;
    const full = () => {
      try {
        keys.find('client', `key ${known}`, given);
        return false;
      } catch (error) {
        expect(error).toMatchObject({ code: 'queue_full' });
        return true;
      }
    };
    while (!full()) remember(`key ${known++}`, given);
    expect(known).toBeGreaterThan(200);
    expect(known).toBeLessThan(500);
  });

  test('finds nothing under a new key, and keeps nothing of asking', () => {
    expect(keys.find('client', 'a', plan(BODY))).toBeUndefined();
    expect(keys.find('client', 'a', plan({ ...BODY, size: 1 }))).toBeUndefined();
  });

  test.each<[string, object]>([
    ['the same', BODY],
    ['numbers spelled otherwise', { ...BODY, size: '4KiB', dst_offset: '0x10000', src_offset: -0 }],
    ['the device by its path', { ...BODY, device_name: '/dev/dax0.0' }],
    ['the destination spelled out', { ...BODY, dst_device_name: 'dax0.0' }],
    [
      'defaults spelled out',
      {
        ...BODY,
        engine: 'auto',
        durability: 'flush',
        verify: 'none',
        priority: 'normal',
        labels: {},
        dry_run: false,
      },
    ],
    ['members in another order', Object.fromEntries(Object.entries(BODY).reverse())],
  ])('finds the transfer of %s', (_name, body) => {
    const transfer = remember('a', plan(BODY));
    expect(keys.find('client', 'a', plan(body))).toBe(transfer.id);
    expect(keys.find('client', 'b', plan(body))).toBeUndefined();
  });

  test('takes labels in any order', () => {
    const transfer = remember('a', plan({ ...BODY, labels: { x: '1', y: '2' } }));
    expect(keys.find('client', 'a', plan({ ...BODY, labels: { y: '2', x: '1' } }))).toBe(
      transfer.id,
    );
  });

  test.each<[string, object]>([
    ['size', { ...BODY, size: 4095 }],
    ['src_offset', { ...BODY, src_offset: 1 }],
    ['dst_offset', { ...BODY, dst_offset: 65_537 }],
    ['device_name', { ...BODY, device_name: 'dax1.0' }],
    ['dst_device_name', { ...BODY, dst_device_name: 'dax1.0' }],
    ['engine', { ...BODY, engine: 'cpu' }],
    ['durability', { ...BODY, durability: 'none' }],
    ['verify', { ...BODY, verify: 'crc32c' }],
    ['priority', { ...BODY, priority: 'high' }],
    ['timeout_ms', { ...BODY, timeout_ms: 1000 }],
    ['labels', { ...BODY, labels: { a: '1' } }],
    [
      'segments instead of the three',
      { device_name: 'dax0.0', segments: [{ src_offset: 0, dst_offset: 65_536, size: 4096 }] },
    ],
  ])('refuses another %s', (_name, body) => {
    remember('a', plan(BODY));
    expect(() => keys.find('client', 'a', plan(body))).toThrow(
      expect.objectContaining({ code: 'idempotency_key_reused' }),
    );
  });

  test('tells labels apart that look alike when joined', () => {
    remember('a', plan({ ...BODY, labels: { a: 'b,c', d: 'e' } }));
    expect(() =>
      keys.find('client', 'a', plan({ ...BODY, labels: { a: 'b', c: ',d', e: '' } })),
    ).toThrow();
  });

  test('forgets a key 24 h after the end of its transfer, and says which one that was', () => {
    const young = end(remember('a', plan(BODY), 40 * DAY_MS), DAY_MS - 1000);
    const old = end(remember('b', plan(BODY), 40 * DAY_MS), DAY_MS);
    expect(keys.find('client', 'a', plan(BODY))).toBe(young.id);
    expect(keys.find('client', 'b', plan({ ...BODY, size: 1 }))).toBeUndefined();
    expect(forgotten).toEqual([old.id]);
    keys.forgetExpired();
    expect(keys.find('client', 'a', plan(BODY))).toBe(young.id);
    expect(forgotten).toEqual([old.id]);
  });

  test('keeps a key for as long as its transfer waits or runs', () => {
    const waiting = remember('a', plan(BODY), 40 * DAY_MS);
    keys.forgetExpired();
    expect(keys.find('client', 'a', plan(BODY))).toBe(waiting.id);
    end(waiting, 2 * DAY_MS);
    keys.forgetExpired();
    expect(keys.find('client', 'a', plan(BODY))).toBeUndefined();
    expect(forgotten).toEqual([waiting.id]);
  });

  test('each client has its own keys', () => {
    const transfer = remember('a', plan(BODY));
    expect(keys.find('client', 'a', plan(BODY))).toBe(transfer.id);
    expect(keys.find('another', 'a', plan({ ...BODY, size: 1 }))).toBeUndefined();
  });

  test('a key is free again once its transfer was not accepted', () => {
    const transfer = remember('a', plan(BODY));
    keys.forget(transfer);
    expect(keys.find('client', 'a', plan({ ...BODY, size: 1 }))).toBeUndefined();
  });

  test('remembers a key for what is left of its time, and none without a key', () => {
    const make = (key?: string) =>
      new Transfer('id', plan(BODY), makeOrigin(key, 'client'), CLOCK, acceptedAgo(2 * DAY_MS));
    expect(keys.remember(end(make('a'), DAY_MS - 1000))).toBe(true);
    expect(keys.find('client', 'a', plan(BODY))).toBeDefined();
    expect(keys.remember(end(make('b'), DAY_MS))).toBe(false);
    expect(keys.find('client', 'b', plan(BODY))).toBeUndefined();
    expect(keys.remember(make())).toBe(false);
  });

  test.each([
    ['', false],
    ['a', true],
    [' ', true],
    ['"quoted, with; marks"', true],
    ['~'.repeat(255), true],
    ['~'.repeat(256), false],
    ['tab\t', false],
    ['é', false],
    ['line\n', false],
    ['\u007f', false],
    ['__proto__', true],
  ])('key %j is one: %p', (key, good) => {
    expect(IDEMPOTENCY_KEY.test(key)).toBe(good);
    if (good) expect(keys.find('client', key, plan(BODY))).toBeUndefined();
  });

  test('remembers 100,000 keys, and then no new one until one is forgotten', () => {
    // In whole milliseconds: of others, a sum less one of its terms may be less than the other.
    let now = Math.ceil(performance.now());
    jest.spyOn(performance, 'now').mockImplementation(() => now);
    const given = makePlan();
    const first = remember('key 0', given, 2 * DAY_MS);
    for (let i = 1; i < 100_000; i++) remember(`key ${i}`, given);
    const full = expect.objectContaining({
      code: 'queue_full',
      options: { headers: { 'retry-after': expect.stringMatching(/^\d+$/) } },
    });
    expect(() => keys.find('client', 'new', given)).toThrow(full);
    expect(keys.find('client', 'key 7', given)).toBe('id of key 7');
    end(first, DAY_MS);
    // Not at each request: to look through all of them takes a while.
    expect(() => keys.find('client', 'new', given)).toThrow(full);
    now += 1000;
    expect(keys.find('client', 'new', given)).toBeUndefined();
    expect(forgotten).toEqual([first.id]);
    remember('new', given);
    // Others have some room of their own.
    for (let i = 0; i < 100; i++) {
      expect(keys.find('another', `key ${i}`, given)).toBeUndefined();
      keys.remember(new Transfer('id', given, makeOrigin(`key ${i}`, 'another'), CLOCK));
    }
    expect(() => keys.find('another', 'new', given)).toThrow(full);
  });

  test('remembers a million segments in all', () => {
    const segments = Array.from({ length: 4096 }, (_, i) => ({
      src_offset: i,
      dst_offset: 8192,
      size: 1,
    }));
    const large = makePlan({ segments });
    const small = makePlan();
    const first = remember('key 0', large, 2 * DAY_MS);
    for (let i = 1; i < 244; i++) remember(`key ${i}`, large);
    expect(keys.find('client', 'new', small)).toBeUndefined();
    remember('last', large);
    expect(() => keys.find('client', 'new', small)).toThrow(
      expect.objectContaining({ code: 'queue_full' }),
    );
    end(first, DAY_MS);
    keys.forgetExpired();
    expect(keys.find('client', 'new', small)).toBeUndefined();
    expect(forgotten).toEqual([first.id]);
  });
});

test.each([
  ['k', 'k'],
  ['"k"', 'k'],
  ['"a \\"b\\" \\\\ c"', 'a "b" \\ c'],
  ['""', ''],
  ['"', '"'],
  ['"half', '"half'],
  ['"a"b"', '"a"b"'],
  ['"not an escape: \\n"', '"not an escape: \\n"'],
  ['"a", "b"', '"a", "b"'],
])('a header of %j names the key %j', (value, key) => {
  expect(readKey(value)).toBe(key);
});
