// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Claims } from '../../../services/daemon/order/claims.ts';
import { runs } from '../../support/depth.ts';

const BYTES = 16;

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('claim' as const),
      write: fc.boolean(),
      start: fc.nat(BYTES - 1),
      size: fc.integer({ min: 1, max: BYTES }),
    }),
    fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }),
  ),
  { maxLength: 24 },
);

/** The same, byte by byte. */
class NaiveClaims {
  readonly bytes = Array.from({ length: BYTES }, () => ({
    writer: undefined as number | undefined,
    readers: new Set<number>(),
  }));

  claim(owner: number, write: boolean, start: number, end: number): Set<number> {
    const others = new Set<number>();
    for (const byte of this.bytes.slice(start, end)) {
      if (byte.writer !== undefined) others.add(byte.writer);
      if (write) {
        for (const reader of byte.readers) others.add(reader);
        byte.writer = owner;
        byte.readers.clear();
      } else {
        byte.readers.add(owner);
      }
    }
    others.delete(owner);
    return others;
  }

  release(owner: number): void {
    for (const byte of this.bytes) {
      if (byte.writer === owner) byte.writer = undefined;
      byte.readers.delete(owner);
    }
  }

  /** No fragment can be smaller than a byte. */
  get mostEntries(): number {
    return this.bytes.reduce(
      (sum, { writer, readers }) =>
        sum + (writer === undefined && readers.size === 0 ? 0 : 1 + readers.size),
      0,
    );
  }
}

describe('Claims', () => {
  test('names exactly those that a byte-by-byte map names, and forgets what is released', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const claims = new Claims<number>();
        const naive = new NaiveClaims();
        const live: { owner: number; start: number; end: number }[] = [];
        const release = (index: number) => {
          const [gone] = live.splice(index, 1);
          if (gone === undefined) return;
          claims.release(gone.owner, gone.start, gone.end);
          naive.release(gone.owner);
        };
        for (const [owner, step] of given.entries()) {
          if (step.kind === 'release') {
            if (live.length > 0) release(step.pick % live.length);
          } else {
            const { start } = step;
            const end = Math.min(start + step.size, BYTES);
            const others = new Set<number>();
            const method = step.write ? 'write' : 'read';
            claims[method](owner, start, end, (other) => others.add(other));
            assert.deepEqual(others, naive.claim(owner, step.write, start, end));
            live.push({ owner, start, end });
          }
          assert.ok(claims.entries <= naive.mostEntries);
          assert.equal(claims.entries === 0, naive.mostEntries === 0);
        }
        while (live.length > 0) release(live.length - 1);
        assert.equal(claims.entries, 0);
      }),
      { numRuns: runs(3000) },
    );
  });

  test('has the same waited for, directly or through others, if reads are remembered as ranges', () => {
    const options = fc.record({ wideFrom: fc.constantFrom(1, 2, 3), maxWide: fc.nat(3) });
    fc.assert(
      fc.property(steps, options, (given, wide) => {
        const claims = new Claims<number>(wide);
        const naive = new NaiveClaims();
        /** Whom each owner waits for, in the end. */
        const waits = {
          claims: new Map<number, Set<number>>(),
          naive: new Map<number, Set<number>>(),
        };
        const live: { owner: number; start: number; end: number }[] = [];
        const all = (map: Map<number, Set<number>>, others: Iterable<number>) => {
          const closure = new Set<number>();
          for (const other of others) {
            closure.add(other);
            for (const further of map.get(other) ?? []) closure.add(further);
          }
          return closure;
        };
        for (const [owner, step] of given.entries()) {
          if (step.kind === 'release') {
            // In the order in which they came, as those leave that wait for each other.
            const gone = live.shift();
            if (gone === undefined) continue;
            for (let at = gone.start; at < gone.end; ) {
              at = claims.release(gone.owner, at, gone.end, { left: 1 });
            }
            naive.release(gone.owner);
            for (const map of [waits.claims, waits.naive]) {
              map.delete(gone.owner);
              for (const others of map.values()) others.delete(gone.owner);
            }
            continue;
          }
          const { start } = step;
          const end = Math.min(start + step.size, BYTES);
          const others = new Set<number>();
          claims[step.write ? 'write' : 'read'](owner, start, end, (other) => others.add(other));
          waits.claims.set(owner, all(waits.claims, others));
          waits.naive.set(owner, all(waits.naive, naive.claim(owner, step.write, start, end)));
          assert.deepEqual(waits.claims.get(owner), waits.naive.get(owner));
          live.push({ owner, start, end });
        }
        for (const { owner, start, end } of live) claims.release(owner, start, end);
        assert.equal(claims.entries, 0);
      }),
      { numRuns: runs(3000) },
    );
  });

  test('a read of many fragments takes one entry, and is released in one step', () => {
    const claims = new Claims<string>();
    for (let i = 0; i < 5000; i++) claims.write(`w${i}`, 2 * i, 2 * i + 1, () => {});
    const met: string[] = [];
    claims.read('r', 0, 10_000, (other) => met.push(other));
    expect(met).toHaveLength(5000);
    expect(claims.entries).toBe(5001);
    const later: string[] = [];
    claims.write('late', 7, 8, (other) => later.push(other));
    expect(later).toEqual(['r']);
    const steps = { left: 1 };
    expect(claims.release('r', 0, 10_000, steps)).toBe(10_000);
    expect(claims.entries).toBe(5001);
  });

  test('a release does no more than it may, and goes on from there', () => {
    const claims = new Claims<string>();
    claims.write('all', 0, 10_000, () => {});
    for (let i = 0; i < 1000; i++) claims.read('r', 10 * i, 10 * i + 1, () => {});
    let calls = 0;
    for (let at = 0; at < 10_000; calls++) {
      const steps = { left: 100 };
      at = claims.release('all', at, 10_000, steps);
      expect(steps.left).toBeGreaterThanOrEqual(0);
    }
    expect(calls).toBeGreaterThan(15);
    expect(claims.entries).toBe(2000);
  });

  test('never names the owner itself, however its ranges lie', () => {
    const claims = new Claims<string>();
    const never = () => {
      throw new Error('it waits for itself');
    };
    claims.read('a', 0, 8, never);
    claims.write('a', 4, 12, never);
    claims.read('a', 0, 12, never);
    claims.write('a', 0, 12, never);
    claims.release('a', 0, 8);
    claims.release('a', 4, 12);
    claims.release('a', 0, 12);
    expect(claims.entries).toBe(0);
  });

  test('ranges that only touch at an end do not meet', () => {
    const claims = new Claims<string>();
    const met: string[] = [];
    claims.write('a', 0, 10, (other) => met.push(other));
    claims.write('b', 10, 20, (other) => met.push(other));
    claims.read('c', 20, 30, (other) => met.push(other));
    expect(met).toEqual([]);
    claims.read('d', 9, 21, (other) => met.push(other));
    expect(met).toEqual(['a', 'b']);
  });

  test('takes offsets up to 2^53-1', () => {
    const claims = new Claims<string>();
    const met: string[] = [];
    const top = Number.MAX_SAFE_INTEGER;
    claims.write('a', top - 1, top, (other) => met.push(other));
    claims.write('b', 0, top, (other) => met.push(other));
    expect(met).toEqual(['a']);
  });
});
