// SPDX-License-Identifier: Apache-2.0

/**
 * The shim's structs as bytes. Layouts and constants are those of native-shim/include/dma_shim.h,
 * ABI {@link SHIM_ABI}; that number changes with any of them.
 */
export const SHIM_ABI = 1;
export const MAX_SEGMENTS = 4096;

/** Device handles that name no device. */
export const MEMORY = 0xffff_fffe;
export const NOWHERE = 0xffff_ffff;

export const DEVICE_KINDS = { devdax: 1, emulated: 2 } as const;
export type DeviceKind = keyof typeof DEVICE_KINDS;

export const PERSISTENCE = ['volatile', 'memory_controller', 'cpu_cache', 'backing_store'] as const;
export type Persistence = (typeof PERSISTENCE)[number];

export const FLUSH_BASES = ['none', 'clwb', 'clflushopt', 'clflush', 'msync', 'cpu_cache'] as const;
export type FlushBasis = (typeof FLUSH_BASES)[number];

const ENGINES = { cpu: 1, dma: 2 } as const;
export type EngineName = keyof typeof ENGINES;
export const ENGINE_NAMES = Object.keys(ENGINES) as EngineName[];

const PRIORITIES = { high: 0, normal: 1, low: 2 } as const;
export type Priority = keyof typeof PRIORITIES;
export const PRIORITY_NAMES = Object.keys(PRIORITIES) as Priority[];

/** One contiguous piece to copy, in bytes; named as in the HTTP contract, which passes it through. */
export interface Segment {
  src_offset: number;
  dst_offset: number;
  size: number;
}

/** A unit of work for the shim; see struct dma_shim_job. */
export interface Job {
  source: number;
  destination: number;
  engine: EngineName;
  priority: Priority;
  segments: readonly Segment[];
  flush?: boolean;
  verify?: boolean;
  checksum?: boolean;
  /** CRC-32C of what came before. */
  crcSeed?: number;
  /** What {@link MEMORY} names; not touched again by the caller until the job is done. */
  memory?: Buffer;
}

/** How a job stands, or ended; see struct dma_shim_completion. Times in CLOCK_MONOTONIC ns. */
export interface Completion {
  tag: number;
  done: boolean;
  /** 0, or a negative errno. */
  status: number;
  bytesDone: number;
  startedNs: number;
  finishedNs: number;
  copyNs: number;
  flushNs: number;
  verifyNs: number;
  segment: number;
  sourceCrc: number;
  destinationCrc: number;
}

export const OPTIONS_SIZE = 8;
export const SPEC_SIZE = 24;
export const INFO_SIZE = 16;
export const CPU_INFO_SIZE = 32;
export const JOB_SIZE = 48;
export const SEGMENT_SIZE = 24;
export const COMPLETION_SIZE = 80;

const KIND_DONE = 2;
const HIGH = 2 ** 32;

/** Writes a job into `out`, of {@link JOB_SIZE} bytes. */
export function encodeJob(out: Buffer, tag: number, job: Job): void {
  writeU64(out, 0, tag);
  writeU64(out, 8, job.memory?.length ?? 0);
  out.writeUInt32LE(job.source, 16);
  out.writeUInt32LE(job.destination, 20);
  out.writeUInt32LE(ENGINES[job.engine], 24);
  out.writeUInt32LE(PRIORITIES[job.priority], 28);
  out.writeUInt32LE((job.flush ? 1 : 0) | (job.verify ? 2 : 0) | (job.checksum ? 4 : 0), 32);
  out.writeUInt32LE(job.crcSeed ?? 0, 36);
  out.writeUInt32LE(job.segments.length, 40);
}

/** Writes segments into `out`, of {@link SEGMENT_SIZE} bytes each, as pairs of 32-bit words. */
export function encodeSegments(out: Uint32Array, segments: readonly Segment[]): void {
  let word = 0;
  for (const { src_offset, dst_offset, size } of segments) {
    for (const value of [src_offset, dst_offset, size]) {
      out[word++] = value % HIGH;
      out[word++] = value / HIGH;
    }
  }
}

/** Reads the completion at `offset`. */
export function decodeCompletion(bytes: Buffer, offset: number): Completion {
  return {
    tag: readU64(bytes, offset),
    bytesDone: readU64(bytes, offset + 8),
    startedNs: readU64(bytes, offset + 16),
    finishedNs: readU64(bytes, offset + 24),
    copyNs: readU64(bytes, offset + 32),
    flushNs: readU64(bytes, offset + 40),
    verifyNs: readU64(bytes, offset + 48),
    done: bytes.readUInt32LE(offset + 56) === KIND_DONE,
    status: bytes.readInt32LE(offset + 60),
    segment: bytes.readUInt32LE(offset + 64),
    sourceCrc: bytes.readUInt32LE(offset + 68),
    destinationCrc: bytes.readUInt32LE(offset + 72),
  };
}

/** @param value a whole number below 2^53 */
export function writeU64(out: Buffer, offset: number, value: number): void {
  out.writeUInt32LE(value % HIGH, offset);
  out.writeUInt32LE(Math.floor(value / HIGH), offset + 4);
}

/** Exact below 2^53; a clock in ns passes that after 104 days, and is then 1 ns off. */
export function readU64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * HIGH;
}
