// SPDX-License-Identifier: Apache-2.0

export const BLOCK = 4096;
/** As many blocks as dax1.0 of a host has, without the first. */
export const MAX_PAIRS = 255;
/** Where on dax2.0 replications write: each source has its own region. */
const REGIONS_AT = 2 ** 24;
const REGION = 2 ** 22;

/** One request of a load. Its dependencies are given as `#0`, `#1` and so on, as in a batch. */
export interface Step {
  key: string;
  body: { depends_on?: string[]; [field: string]: unknown };
}

/** What a block must hold in the end. */
export interface ExpectedBlock {
  host: number;
  device: string;
  offset: number;
  byte: number;
}

export interface Pair {
  round: number;
  /** From 0 on: which block of dax1.0 is copied to. */
  index: number;
  host: number;
  /** The host that the block is then replicated to, if any. */
  next: number | undefined;
  labels: Record<string, string>;
}

/**
 * Requests whose bytes show that each ran once and in order: block 0 of dax0.0 is filled and copied to
 * a block of dax1.0 of the pair's own. A fill that came late or twice would be in the next copy, and a
 * copy would have a later fill's bytes. The block is then replicated to the next host, copied there to
 * the block behind it, and filled: a replication that ran again would undo that fill.
 */
export function stepsOf({ round, index, host, next, labels }: Pair): Step[] {
  const name = `host${host} ${round} ${index}`;
  const here = { host: `host${host}`, size: BLOCK, labels };
  const pattern = hex(byteOf(round, index));
  const offset = (index + 1) * BLOCK;
  const steps: Step[] = [
    {
      key: `${name} fill`,
      body: { ...here, operation: 'fill', device_name: 'dax0.0', dst_offset: 0, pattern },
    },
    {
      key: `${name} copy`,
      body: {
        ...{ ...here, device_name: 'dax0.0', dst_device_name: 'dax1.0' },
        ...{ src_offset: 0, dst_offset: offset },
      },
    },
  ];
  if (next === undefined) return steps;
  const there = { host: `host${next}`, device_name: 'dax2.0', size: BLOCK, labels };
  const target = targetOf(host, index);
  return [
    ...steps,
    {
      key: `${name} replicate`,
      body: {
        ...{ ...here, device_name: 'dax1.0', src_offset: offset, depends_on: ['#1'] },
        ...{ dst_host: `host${next}`, dst_device_name: 'dax2.0', dst_offset: target },
        block_size: BLOCK,
      },
    },
    {
      key: `${name} keep`,
      body: { ...there, src_offset: target, dst_offset: target + BLOCK, depends_on: ['#2'] },
    },
    {
      key: `${name} overwrite`,
      body: {
        ...{ ...there, operation: 'fill', dst_offset: target, depends_on: ['#3'] },
        pattern: hex(overwrittenBy(round, index)),
      },
    },
  ];
}

/** What is there once all of a pair's steps have run, in order and once each. */
export function expectedOf({ round, index, host, next }: Pair): ExpectedBlock[] {
  const byte = byteOf(round, index);
  const copied = { host, device: 'dax1.0', offset: (index + 1) * BLOCK, byte };
  if (next === undefined) return [copied];
  const there = { host: next, device: 'dax2.0' };
  const target = targetOf(host, index);
  return [
    copied,
    { ...there, offset: target, byte: overwrittenBy(round, index) },
    { ...there, offset: target + BLOCK, byte },
  ];
}

function targetOf(host: number, index: number): number {
  return REGIONS_AT + host * REGION + 2 * index * BLOCK;
}

/** Differs from the pair before, and from the same pair of the rounds before. */
function byteOf(round: number, index: number): number {
  return ((round * 7 + index) % 255) + 1;
}

/** Not what is replicated. */
function overwrittenBy(round: number, index: number): number {
  return byteOf(round, index) ^ 0xff;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
