// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, expect, test } from '@jest/globals';
import type { ByteRange } from '../../../services/base/byte-range.ts';
import { digests } from '../../../services/daemon/digests/digests.ts';
import { Hashers } from '../../../services/daemon/digests/hashers.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import { MEMORY } from '../../../services/daemon/engines/records.ts';
import { Blocks } from '../../../services/daemon/replication/blocks.ts';
import { FetchBuffers, type Loan } from '../../../services/daemon/replication/fetch-buffers.ts';
import { DigestMemory } from '../../../services/daemon/replication/known-digests.ts';
import { Progress } from '../../../services/daemon/replication/progress.ts';
import { RateLimit } from '../../../services/daemon/replication/rate-limit.ts';
import { Run, type RunOptions } from '../../../services/daemon/replication/run.ts';
import { completion, makeDevice } from '../transfers/make-transfer.ts';

const MIB = 2 ** 20;
const BLOCK = 4096;

const hashers = new Hashers(2);
afterAll(() => hashers.close());

type Job = Parameters<Engine['run']>[0] & { memory: Buffer; flush?: boolean };

/** An engine that moves bytes between memory and one device. @param flushed receives what it flushes */
function engineOf(bytes: Buffer, flushed: (range: ByteRange) => void): Engine {
  const run = async ({ destination, memory, segments, flush, operation }: Job) => {
    if (operation === 'compare') return completion();
    for (const { src_offset: from, dst_offset: to, size } of segments) {
      if (destination === MEMORY) bytes.copy(memory, to, from, from + size);
      else memory.copy(bytes, to, from, from + size);
      if (destination !== MEMORY && flush) flushed({ offset: to, size });
    }
    return completion();
  };
  return { run } as unknown as Engine;
}

test('what an earlier daemon has flushed is flushed again: somebody may have written there since', async () => {
  const bytes = Buffer.alloc(8 * BLOCK, 7);
  const progress = new Progress(new Blocks(bytes.length, BLOCK));
  progress.consistency = 'inconsistent';
  for (const block of [0, 1, 5]) progress.copied.add(block);
  let flushed = 0;
  const source = async (_device: string, { offset, size }: ByteRange, blockSize: number) => {
    const found: Buffer[] = [];
    for (let at = offset; at < offset + size; at += blockSize) {
      const block = bytes.subarray(at, Math.min(at + blockSize, offset + size));
      found.push(createHash('sha256').update(block).digest());
    }
    return Buffer.concat(found);
  };
  const run = new Run({
    ...{ mode: 'delta', progress, unflushed: true, hashers, buffers: new FetchBuffers().share() },
    ...{ source: { device: 'dax0.0', offset: 0 }, link: { digests: source } },
    destination: { device: makeDevice(), offset: 0 },
    digestMemory: new DigestMemory(),
    engine: engineOf(bytes, ({ size }) => {
      flushed += size;
    }),
    ...{ signal: new AbortController().signal, priority: () => 'normal', pace: () => 0 },
    ...{ save: async () => true, progressed: () => {}, consistencyChanged: () => {} },
  } as unknown as RunOptions);
  await run.run((error) => {
    throw error;
  });
  expect(progress.consistency).toBe('consistent');
  expect(flushed).toBe(bytes.length);
});

test('a client that is limited has the first digests while it pays for further ones', async () => {
  const bytes = Buffer.alloc(40 * MIB, 1);
  const left = new AbortController();
  let spans = 0;
  // All but the first are too much for it.
  const pace = (size: number) => {
    if (size > 0) spans++;
    return spans > 1 ? 60_000 : 0;
  };
  const engine = engineOf(bytes, () => {});
  const options = { engine, hashers, pace, signal: left.signal };
  const device = makeDevice({ size: bytes.length });
  const found = digests(device, { offset: 0, size: bytes.length }, MIB, options);
  const first = await found.next();
  expect((first.value as Uint8Array).length).toBe(8 * 32);
  left.abort();
  await found.return();
});

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

test.each([
  ['reads back as it came', false],
  ['reads back otherwise the first time', true],
])('the proof hashes what was written only if it %s', async (_, spoilt) => {
  const block = 65_536;
  const theirs = randomBytes(8 * block);
  const ours = Buffer.alloc(theirs.length);
  let readForProof = 0;
  let spoil = spoilt;
  const run = async ({ operation, destination, memory, segments }: Job) => {
    let difference: number | undefined;
    for (const { src_offset: from, dst_offset: to, size } of segments) {
      if (operation === 'compare') {
        const same = memory.subarray(from, from + size).equals(ours.subarray(to, to + size));
        if (!same) difference ??= 0;
      } else if (destination === MEMORY) {
        readForProof += size;
        ours.copy(memory, to, from, from + size);
      } else {
        memory.copy(ours, to, from, from + size);
        if (spoil) ours[to] = ~(ours[to] as number);
        spoil = false;
      }
    }
    return { ...completion(), difference };
  };
  const buffers = new FetchBuffers().share();
  const progress = new Progress(new Blocks(theirs.length, block));
  const replication = new Run({
    ...{ mode: 'full', progress, unflushed: false, hashers, buffers },
    digestMemory: new DigestMemory(),
    source: { device: 'dax0.0', offset: 0 },
    link: {
      digests: async (_device: string, { offset, size }: ByteRange, blockSize: number) => {
        const found: Buffer[] = [];
        for (let at = offset; at < offset + size; at += blockSize) {
          found.push(sha256(theirs.subarray(at, Math.min(at + blockSize, offset + size))));
        }
        return Buffer.concat(found);
      },
      content: async (
        _device: string,
        { offset, size }: ByteRange,
        borrow: () => Promise<Loan>,
      ) => {
        const loan = await borrow();
        theirs.copy(loan.memory, 0, offset, offset + size);
        return loan;
      },
    },
    destination: { device: makeDevice({ size: theirs.length }), offset: 0 },
    engine: { run },
    rate: new RateLimit(null),
    ...{ signal: new AbortController().signal, priority: () => 'normal', pace: () => 0 },
    ...{ save: async () => true, progressed: () => {}, consistencyChanged: () => {} },
  } as unknown as RunOptions);
  await replication.run((error) => {
    throw error;
  });
  expect(ours.equals(theirs)).toBe(true);
  expect(progress.consistency).toBe('consistent');
  if (spoilt) expect(readForProof).toBeGreaterThan(0);
  else expect(readForProof).toBe(0);
  expect(progress.round).toBe(spoilt ? 2 : 1);
});
