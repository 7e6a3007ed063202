// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Claims } from '../../../services/daemon/order/claims.ts';

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
      { numRuns: 3000 },
    );
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
