// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Device } from '../../../services/daemon/devices/device.ts';
import { hashSpan } from '../../../services/daemon/digests/digests.ts';
import { Hashers } from '../../../services/daemon/digests/hashers.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { Completion, Job } from '../../../services/daemon/engines/records.ts';
import { type HashStream, HashThread } from '../../../services/daemon/hashing/hash-thread.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { noise } from '../../support/random.ts';

const DEVICE = { name: 'dax0.0', handle: 0, state: 'online' } as Device;
const CHUNK = 16;
const content = noise(1024);

type Memory = Buffer & Uint8Array;

/** Whose memory it is at a time: read into, or hashed. Both at once would give wrong digests. */
class Memories {
  readonly buffers = [0, 1].map(() => Buffer.alloc(CHUNK)) as [Memory, Memory];
  readonly #used = new Set<ArrayBufferLike>();

  take({ buffer }: Uint8Array): void {
    if (this.#used.has(buffer)) throw new Error('the memory is in use');
    this.#used.add(buffer);
  }

  give({ buffer }: Uint8Array): void {
    this.#used.delete(buffer);
  }

  get inUse(): number {
    return this.#used.size;
  }
}

/** Reads of the content, which take some turns of the event loop; one of them may fail. */
function slowEngine(memories: Memories, turns: () => number, failing: number): Engine {
  let reads = 0;
  const run = async ({ memory, segments }: Job): Promise<Completion> => {
    const [segment] = segments;
    if (memory === undefined || segment === undefined) throw new Error('no read');
    memories.take(memory);
    const fails = reads++ === failing;
    for (let turn = turns(); turn > 0; turn--) await nextTurn();
    content.copy(memory, 0, segment.src_offset, segment.src_offset + segment.size);
    memories.give(memory);
    return { status: fails ? -5 : 0, dma: { error: 'none' } } as Completion;
  };
  return { run } as unknown as Engine;
}

/** One digest of all; it ends its calls in their order, as a thread does. */
class SlowStream implements HashStream {
  discarded = 0;
  readonly #memories: Memories;
  readonly #turns: () => number;
  readonly #hash = createHash('sha256');
  readonly #failing: number;
  #calls = 0;
  #before: Promise<unknown> = Promise.resolve();

  constructor(memories: Memories, turns: () => number, failing: number) {
    this.#memories = memories;
    this.#turns = turns;
    this.#failing = failing;
  }

  hash(bytes: Uint8Array, last: boolean): Promise<Uint8Array> {
    this.#memories.take(bytes);
    const fails = this.#calls++ === this.#failing;
    const hashing = this.#before.then(async () => {
      for (let turn = this.#turns(); turn > 0; turn--) await nextTurn();
      this.#hash.update(bytes);
      this.#memories.give(bytes);
      if (fails) throw new Problem('internal_error', 'The thread has ended.');
      return last ? this.#hash.digest() : Buffer.alloc(0);
    });
    this.#before = hashing.catch(() => {});
    return hashing;
  }

  discard(): void {
    this.discarded++;
  }
}

describe('hashSpan', () => {
  const never = new AbortController().signal;
  const NONE = -1;
  const cases = fc.record({
    offset: fc.nat(500),
    size: fc.integer({ min: 1, max: 200 }),
    turns: fc.array(fc.nat(3), { minLength: 1 }),
    failingRead: fc.oneof(fc.constant(NONE), fc.nat(15)),
    failingHash: fc.oneof(fc.constant(NONE), fc.nat(15)),
  });

  test('hashes what is there, or fails; nobody uses its buffers afterwards', async () => {
    const check = fc.asyncProperty(cases, async (given) => {
      const { offset, size, turns, failingRead, failingHash } = given;
      const memories = new Memories();
      let next = 0;
      const wait = () => turns[next++ % turns.length] as number;
      const engine = slowEngine(memories, wait, failingRead);
      const stream = new SlowStream(memories, wait, failingHash);
      const chunks = Math.ceil(size / CHUNK);
      const fails = [failingRead, failingHash].some((n) => n !== NONE && n < chunks);
      const hashed = hashSpan(DEVICE, { offset, size }, stream, memories.buffers, {
        ...{ engine, signal: never },
      });
      if (fails) {
        await expect(hashed).rejects.toBeInstanceOf(Problem);
      } else {
        const expected = createHash('sha256').update(content.subarray(offset, offset + size));
        expect(Buffer.from(await hashed)).toEqual(expected.digest());
      }
      expect(stream.discarded).toBe(fails ? 1 : 0);
      expect(memories.inUse).toBe(0);
    });
    await fc.assert(check, { numRuns: runs(1000) });
  });

  test('a chunk waits behind the one that is hashed', async () => {
    const memories = new Memories();
    const stream = new SlowStream(memories, () => 20, NONE);
    let hashing = 0;
    let most = 0;
    const counted: HashStream = {
      hash: async (bytes, last) => {
        most = Math.max(most, ++hashing);
        const digests = await stream.hash(bytes, last);
        hashing--;
        return digests;
      },
      discard: () => stream.discard(),
    };
    const engine = slowEngine(memories, () => 1, NONE);
    const range = { offset: 0, size: 5 * CHUNK };
    await hashSpan(DEVICE, range, counted, memories.buffers, { engine, signal: never });
    expect(most).toBe(2);
  });

  test('stops between two chunks once its client has left', async () => {
    const memories = new Memories();
    const client = new AbortController();
    const engine = slowEngine(memories, () => 1, NONE);
    const stream = new SlowStream(memories, () => 1, NONE);
    const options = { engine, signal: client.signal };
    const range = { offset: 0, size: 50 * CHUNK };
    const hashed = hashSpan(DEVICE, range, stream, memories.buffers, options);
    client.abort();
    await expect(hashed).rejects.toMatchObject({ code: 'cancelled' });
    expect(stream.discarded).toBe(1);
    expect(memories.inUse).toBe(0);
  });
});

test('a thread ends its tasks in their order, whatever streams they are of', async () => {
  const thread = new HashThread();
  const parts = Array.from({ length: 20 }, (_, n) => noise(1000 + n));
  const [one, other] = [thread.begin(), thread.begin(1024)];
  const ended: number[] = [];
  const results = parts.flatMap((part, n) => [
    one.hash(part, n === parts.length - 1).finally(() => ended.push(2 * n)),
    other.hash(part, n === parts.length - 1).finally(() => ended.push(2 * n + 1)),
  ]);
  const digests = await Promise.all(results);
  const all = Buffer.concat(parts);
  const blocks = Array.from({ length: Math.ceil(all.length / 1024) }, (_, n) =>
    createHash('sha256')
      .update(all.subarray(n * 1024, (n + 1) * 1024))
      .digest(),
  );
  expect(ended).toEqual([...ended.keys()]);
  expect(Buffer.concat(digests.filter((_, n) => n % 2 === 0))).toEqual(
    createHash('sha256').update(all).digest(),
  );
  expect(Buffer.concat(digests.filter((_, n) => n % 2 === 1))).toEqual(Buffer.concat(blocks));
  await thread.close();
  await expect(one.hash(all, true)).rejects.toMatchObject({ code: 'internal_error' });
});

test('a thread hashes blocks, however their bytes arrive', async () => {
  const thread = new HashThread();
  const bytes = Buffer.from(new SharedArrayBuffer(300_000));
  noise(bytes.length).copy(bytes);
  const blockSizes = fc.constantFrom(4096, 65_536, 2 ** 20);
  const cuts = fc.array(
    fc.oneof(
      fc.nat(bytes.length),
      fc.nat(70).map((n) => n * 4096),
    ),
    {
      maxLength: 6,
    },
  );
  const check = fc.asyncProperty(blockSizes, cuts, fc.nat(bytes.length), async (size, at, end) => {
    const ends = [...at.filter((each) => each < end).sort((a, b) => a - b), end];
    const stream = thread.begin(size);
    const hashed = ends.map((to, n) =>
      stream.hash(bytes.subarray(ends[n - 1] ?? 0, to), n === ends.length - 1),
    );
    const expected = Array.from({ length: Math.max(1, Math.ceil(end / size)) }, (_, n) =>
      createHash('sha256')
        .update(bytes.subarray(n * size, Math.min((n + 1) * size, end)))
        .digest(),
    );
    expect(Buffer.concat(await Promise.all(hashed))).toEqual(Buffer.concat(expected));
  });
  await fc.assert(check, { numRuns: runs(300) });
  await thread.close();
});

test('a thread yields to those of its process, whatever priority that has', async () => {
  const thread = new HashThread(7);
  await thread.begin().hash(noise(16), true);
  const niceOf = (task: string) => {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  };
  const all = readdirSync('/proc/self/task').map(niceOf);
  expect(all).toContain(Math.min(getPriority() + 7, 19));
  await thread.close();
});

describe('hashers', () => {
  /** All that there are at once, and one more that has to wait. */
  async function takeAll(hashers: Hashers) {
    const ends: (() => void)[] = [];
    const threads: HashThread[] = [];
    const uses = Array.from({ length: hashers.limit + 1 }, () =>
      hashers.use(async ({ thread }) => {
        threads.push(thread);
        await new Promise<void>((end) => ends.push(end));
      }),
    );
    await nextTurn();
    return { ends, threads, uses };
  }

  test('are spread over the threads', async () => {
    const hashers = new Hashers(3);
    const { ends, threads, uses } = await takeAll(hashers);
    expect(threads).toHaveLength(hashers.limit);
    expect(new Set(threads.slice(0, 3)).size).toBe(3);
    expect(new Set(threads.slice(3)).size).toBe(3);
    expect(new Set(threads).size).toBe(3);
    while (ends.length > 0) {
      ends.shift()?.();
      await nextTurn();
    }
    await Promise.all(uses);
    expect(threads).toHaveLength(hashers.limit + 1);
    await hashers.close();
  });

  test('of a thread that has ended get another one', async () => {
    const hashers = new Hashers(1);
    const { ends, threads, uses } = await takeAll(hashers);
    const [first] = threads as [HashThread];
    await first.close();
    while (ends.length > 0) {
      ends.shift()?.();
      await nextTurn();
    }
    await Promise.all(uses);
    expect(threads.at(-1)).not.toBe(first);
    const again = await takeAll(hashers);
    expect(new Set(again.threads)).toEqual(new Set([threads.at(-1)]));
    for (const end of again.ends) end();
    await nextTurn();
    again.ends.at(-1)?.();
    await Promise.all(again.uses);
    await hashers.close();
  });

  test('of a thread that ends while none of them is in use, none is used again', async () => {
    const hashers = new Hashers(1);
    const { ends, threads, uses } = await takeAll(hashers);
    while (ends.length > 0) {
      ends.shift()?.();
      await nextTurn();
    }
    await Promise.all(uses);
    await (threads[0] as HashThread).close();
    for (let count = 0; count < hashers.limit; count++) {
      expect(await hashers.use(async ({ thread }) => thread.usable)).toBe(true);
    }
    await hashers.close();
  });
});
