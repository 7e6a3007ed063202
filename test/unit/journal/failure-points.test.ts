// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { readBatch } from '../../../services/daemon/journal/batch-row.ts';
import { memoryJournal } from '../../support/memory-store.ts';
import {
  FaultyDisk,
  FaultyMark,
  FaultyStore,
  FaultyWatermark,
} from '../../support/scripted-disk.ts';

const ROUNDS = 8;

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance'] });
});
afterEach(() => {
  jest.useRealTimers();
});

const settled = async () => {
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Runs a daemon's life on that disk, and returns what its clients heard and what is left. */
async function live(disk: FaultyDisk, end: 'crash' | 'in order') {
  const store = new FaultyStore(disk);
  const mark = new FaultyMark(disk);
  const watermark = new FaultyWatermark(disk);
  const { journal } = memoryJournal(store, mark, undefined, false, watermark);
  const heard = new Map<string, string>();
  const facts = new Map<string, boolean>();
  const hear = (key: string, what: string) => {
    // An answer once given stays; only what is undecided may be decided later.
    assert.ok([undefined, 'undecided'].includes(heard.get(key)), `${key}: ${heard.get(key)}`);
    heard.set(key, what);
  };
  const accept = (key: string) =>
    void journal
      .accept(new Map([[key, 'x']]), () => {
        if (heard.get(key) !== 'undecided') hear(key, 'undecided');
      })
      .then(
        () => hear(key, 'accepted'),
        () => hear(key, 'refused'),
      );
  const record = (key: string) =>
    void journal.record(new Map([[key, 'x']])).then((kept) => facts.set(key, kept));

  for (let round = 0; round < ROUNDS; round++) {
    accept(`a${round}`);
    accept(`b${round}`);
    if (round % 2 === 1) record(`f${round}`);
    await settled();
    accept(`c${round}`);
    await settled();
    await jest.advanceTimersByTimeAsync(1100);
    await settled();
  }
  if (end === 'in order') {
    journal.stopWaiting();
    await settled();
    await journal.close();
    await settled();
  }
  const { uncommitted, spoilt } = readBatch(store.rows, watermark.value);
  assert.equal(spoilt, undefined);
  const counted = [...store.rows.keys()].filter((key) => !uncommitted.has(key));
  return { heard: new Map(heard), facts, counted: new Set(counted), mark };
}

describe('whatever the disk does', () => {
  const cases = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((first) =>
    (['before', 'after'] as const).flatMap((fault) =>
      [1, 2, 3, Number.POSITIVE_INFINITY].flatMap((times) =>
        (['crash', 'in order'] as const).map((end) => ({ first, fault, times, end })),
      ),
    ),
  );
  test.each(cases)('$fault operation $first, $times times, $end', async (one) => {
    const { first, fault, times, end } = one;
    const disk = new FaultyDisk((operation) =>
      operation >= first && operation < first + times ? fault : 'none',
    );
    const { heard, facts, counted, mark } = await live(disk, end);
    for (const [key, what] of heard) {
      if (what === 'refused') assert.ok(!counted.has(key), `${key} was refused, and counts`);
      if (what === 'accepted') assert.ok(counted.has(key), `${key} was accepted, and is lost`);
    }
    for (const [key, kept] of facts) {
      if (kept) assert.ok(counted.has(key) || mark.written, `${key} is lost without a word`);
      else assert.equal(end, 'in order');
    }
    // Nobody waits for ever, once the disk works or the daemon ends.
    if (Number.isFinite(times) || end === 'in order') {
      assert.equal(heard.size, 3 * ROUNDS);
      assert.equal(facts.size, ROUNDS / 2);
    }
    if (Number.isFinite(times)) assert.equal(heard.get(`c${ROUNDS - 1}`), 'accepted');
  });

  test('a batch that fails does not hide behind one that succeeds', async () => {
    const disk = new FaultyDisk((operation) => (operation === 1 ? 'after' : 'none'));
    const { heard, counted } = await live(disk, 'crash');
    expect(heard.get('a0')).toBe('refused');
    expect(heard.get('a7')).toBe('accepted');
    expect([...counted].sort()).not.toContain('a0');
  });
});
