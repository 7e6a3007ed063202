// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { afterAll, expect, test } from '@jest/globals';
import type { ByteRange } from '../../../services/base/byte-range.ts';
import { digests } from '../../../services/daemon/digests/digests.ts';
import { Hashers } from '../../../services/daemon/digests/hashers.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import { MEMORY } from '../../../services/daemon/engines/records.ts';
import { Blocks } from '../../../services/daemon/replication/blocks.ts';
import { FetchBuffers } from '../../../services/daemon/replication/fetch-buffers.ts';
import { DigestMemory } from '../../../services/daemon/replication/known-digests.ts';
import { Progress } from '../../../services/daemon/replication/progress.ts';
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
  const options = { engine, hashers, pace, left: left.signal };
  const device = makeDevice({ size: bytes.length });
  const found = digests(device, { offset: 0, size: bytes.length }, MIB, options);
  const first = await found.next();
  expect((first.value as Uint8Array).length).toBe(8 * 32);
  left.abort();
  await found.return();
});
