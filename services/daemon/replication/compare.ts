// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import { type Blocks, digestAt, type Run, runsWhere, sameDigest } from './blocks.ts';

/** How many blocks are compared by one digest first, unless they have more than {@link GROUP_BYTES}. */
const GROUP = 64;
/** Not more, because a busy or limited peer has to read all of them before it answers. */
const GROUP_BYTES = 16 * 2 ** 20;
/** How much is compared before what differs in it is copied, in bytes and in blocks. */
const WINDOW_BYTES = 256 * 2 ** 20;
/** The same for blocks that are copied without comparing, so that the first ones start at once. */
const UNCOMPARED_BYTES = 32 * 2 ** 20;
const WINDOW_BLOCKS = 2 ** 16;
/** For smaller blocks, digests of single blocks would be a large part of what is sent. */
const MIN_SINGLE = 64 * 2 ** 10;

/** The digests of one side's blocks. `range` counts from the replication's beginning. */
export type DigestsOf = (range: ByteRange, blockSize: number) => Promise<Uint8Array>;

export interface Sides {
  blocks: Blocks;
  source: DigestsOf;
  destination: DigestsOf;
  /** How many of these blocks' digests `destination` knows without reading them. */
  known(first: number, count: number): number;
}

/** A window that was compared. */
export interface Compared {
  first: number;
  /** How many blocks it has. */
  count: number;
  /** Those that differ, with the source's digests. */
  differing: Run[];
}

/** How many blocks are compared by one digest first. */
function groupOf({ blockSize }: Blocks): number {
  return Math.max(1, Math.min(GROUP, GROUP_BYTES / blockSize));
}

/** How many are compared before what differs in them is copied. */
function windowOf({ blockSize }: Blocks, bytes = WINDOW_BYTES): number {
  return Math.min(WINDOW_BLOCKS, bytes / blockSize);
}

/** Compares source and destination, window by window: some blocks at a time, then single ones. */
export async function* compare(sides: Sides): AsyncGenerator<Compared> {
  const { blocks } = sides;
  for (const [first, count] of blocks.cut(0, blocks.count, windowOf(blocks))) {
    const differing: Run[] = [];
    const group = groupOf(blocks);
    const known = blocks.blockSize >= MIN_SINGLE ? sides.known(first, count) : 0;
    if (group === 1 || 2 * known >= count) {
      yield { first, count, differing: await differingIn(sides, first, count) };
      continue;
    }
    const groups = Math.ceil(count / group);
    const range = blocks.rangeOf(first, count);
    const [theirs, ours] = await digestsOfBoth(sides, range, group * blocks.blockSize);
    for (const [at, length] of runsWhere(groups, (i) => !sameDigest(theirs, ours, i))) {
      const from = first + at * group;
      const end = Math.min(from + length * group, first + count);
      differing.push(...(await differingIn(sides, from, end - from)));
    }
    yield { first, count, differing };
  }
}

async function differingIn(sides: Sides, first: number, count: number): Promise<Run[]> {
  const { blocks } = sides;
  const range = blocks.rangeOf(first, count);
  const [theirs, ours] = await digestsOfBoth(sides, range, blocks.blockSize);
  const runs = runsWhere(count, (at) => !sameDigest(theirs, ours, at));
  return Array.from(runs, ([at, length]) => ({
    first: first + at,
    count: length,
    digests: digestAt(theirs, at, length),
  }));
}

/** Treats all blocks as different, without reading the destination. */
export async function* takeAll({ blocks, source }: Sides): AsyncGenerator<Compared> {
  for (const [first, count] of blocks.cut(0, blocks.count, windowOf(blocks, UNCOMPARED_BYTES))) {
    const digests = await source(blocks.rangeOf(first, count), blocks.blockSize);
    yield { first, count, differing: [{ first, count, digests }] };
  }
}

async function digestsOfBoth(
  { source, destination }: Sides,
  range: ByteRange,
  blockSize: number,
): Promise<[theirs: Uint8Array, ours: Uint8Array]> {
  // Both are awaited even if one fails: the engine may still read for the other.
  const [theirs, ours] = await Promise.allSettled([
    source(range, blockSize),
    destination(range, blockSize),
  ]);
  if (theirs.status === 'rejected') throw theirs.reason;
  if (ours.status === 'rejected') throw ours.reason;
  return [theirs.value, ours.value];
}

/** The same values, each computed while the one before is used. */
export async function* ahead<Value>(values: AsyncGenerator<Value>): AsyncGenerator<Value> {
  const request = () => {
    const next = values.next();
    // It is awaited below, perhaps after it has failed.
    next.catch(() => {});
    return next;
  };
  let next = request();
  try {
    for (let result = await next; !result.done; result = await next) {
      next = request();
      yield result.value;
    }
  } finally {
    await next.catch(() => {});
    await values.return(undefined);
  }
}
