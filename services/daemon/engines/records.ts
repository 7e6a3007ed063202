// SPDX-License-Identifier: Apache-2.0

import type { SegmentList } from '../../base/segments.ts';
import {
  DMA_ERRORS,
  type DmaError,
  type EngineName,
  OPERATIONS,
  type Operation,
  type Priority,
} from '../../base/vocabulary.ts';

/*
 * The shim's structs as bytes. Layouts and constants are those of native-shim/include/dma_shim.h;
 * its ABI, which base/native/shim.ts checks, changes with any of them.
 */
/** Of a submitted job that is already complete, in place of 0. */
export const SUBMIT_COMPLETED = 1;

/** Device handles that name no device. */
export const SOCKET = 0xffff_fffd;
export const MEMORY = 0xffff_fffe;
export const NOWHERE = 0xffff_ffff;

export const DEVICE_KINDS = { devdax: 1, emulated: 2 } as const;
export type DeviceKind = keyof typeof DEVICE_KINDS;

const ENGINES = { cpu: 1, dma: 2 } as const satisfies Record<EngineName, number>;
const PRIORITIES = { high: 0, normal: 1, low: 2 } as const satisfies Record<Priority, number>;

export const MAX_PATTERN = 64;

/** In the order of enum dma_shim_channel_state. */
export const CHANNEL_STATES = ['gone', 'ready', 'recovering', 'set_aside'] as const;
export type ChannelState = (typeof CHANNEL_STATES)[number];

/** Why the kernel module does not use a provider, in the order of enum ioat_dma_refusal from 1. */
export const REFUSALS = ['driver', 'order', 'alignment', 'errors', 'bus', 'other'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** A unit of work for the shim; see struct dma_shim_job. */
export interface Job {
  /** A copy by default. */
  operation?: Operation;
  /** What a fill writes: 1, 2, 4 … {@link MAX_PATTERN} bytes. */
  pattern?: Buffer | undefined;
  source: number;
  destination: number;
  engine: EngineName;
  priority: Priority;
  segments: SegmentList;
  flush?: boolean;
  verify?: boolean;
  checksum?: boolean;
  /** CRC-32C of what came before. */
  crcSeed?: number;
  /** From submission, for what a DMA channel may hang on; at most 2^32-1. */
  timeoutMs?: number | undefined;
  /** What {@link MEMORY} names; not touched again by the caller until the job is done. */
  memory?: Buffer;
  /**
   * What {@link SOCKET} names: the descriptor of a connection that nobody else writes to, or reads if
   * the job does, until that is done; -1 if it is closed. Asked when the job begins; the shim duplicates it.
   */
  descriptor?: () => number;
}

/** The same job with another timeout; undefined: none. */
export function withTimeout(job: Job, timeoutMs: number | undefined): Job {
  const { timeoutMs: _, ...rest } = job;
  return timeoutMs === undefined ? rest : { ...rest, timeoutMs };
}

/** How a job stands, or ended; see struct dma_shim_completion. Times in CLOCK_MONOTONIC ns. */
export interface Completion {
  tag: number;
  done: boolean;
  /** 0, or a negative errno. */
  status: number;
  bytesDone: number;
  /** Of a job that both engines shared, how many of them the CPU copied; else absent. */
  bytesByCpu?: number;
  startedNs: number;
  finishedNs: number;
  copyNs: number;
  flushNs: number;
  verifyNs: number;
  segment: number;
  sourceCrc: number;
  destinationCrc: number;
  /** Of a comparison: the first byte that differs, from the beginning of that segment on. */
  difference: number | undefined;
  /** Bytes that were taken from a socket: more than `bytesDone` if the device did not take them all. */
  received: number;
  dma: {
    /** What became of it in the DMA engine, more closely than by the status. */
    error: DmaError;
    /** Ids of the channels that had a part of it. */
    channels: number[];
    /** The id of the one that failed. */
    failedChannel: number | undefined;
    /** How often a part of it was thrown out with another's fault, and tried again. */
    retries: number;
  };
}

export const OPTIONS_SIZE = 8;
export const SPEC_SIZE = 24;
export const INFO_SIZE = 16;
export const CPU_INFO_SIZE = 96;
export const STORAGE_SIZE = 256;
export const RANGE_SIZE = 16;
/** As many as the shim keeps of a device. */
export const MAX_BAD_RANGES = 64;
export const REFUSED_SIZE = 72;
export const DMA_INFO_SIZE = 600;
export const CHANNEL_INFO_SIZE = 144;
export const JOB_SIZE = 128;
export const SEGMENT_SIZE = 24;
export const COMPLETION_SIZE = 112;

const KIND_DONE = 2;
const NO_CHANNEL = 0xffff_ffff;
const HIGH = 2 ** 32;

/** Writes a job into `out`, {@link JOB_SIZE} bytes from `at`. */
export function encodeJob(out: Buffer, tag: number, job: Job, at = 0): void {
  writeU64(out, at, tag);
  writeU64(out, at + 8, job.memory?.length ?? 0);
  out.writeUInt32LE(job.source, at + 16);
  out.writeUInt32LE(job.destination, at + 20);
  out.writeUInt32LE(ENGINES[job.engine], at + 24);
  out.writeUInt32LE(PRIORITIES[job.priority], at + 28);
  out.writeUInt32LE((job.flush ? 1 : 0) | (job.verify ? 2 : 0) | (job.checksum ? 4 : 0), at + 32);
  out.writeUInt32LE(job.crcSeed ?? 0, at + 36);
  out.writeUInt32LE(job.segments.length, at + 40);
  out.writeUInt32LE(job.timeoutMs ?? 0, at + 44);
  out.writeUInt32LE(OPERATIONS.indexOf(job.operation ?? 'copy'), at + 48);
  out.writeUInt32LE(job.pattern?.length ?? 0, at + 52);
  out.fill(0, at + 56, at + JOB_SIZE);
  job.pattern?.copy(out, at + 56);
  out.writeInt32LE(job.descriptor?.() ?? 0, at + 120);
}

/**
 * Writes segments into `out`, of {@link SEGMENT_SIZE} bytes each, from the one numbered `first`, as
 * pairs of 32-bit words: of a number that does not fit into one, an Uint32Array keeps the low part.
 */
export function encodeSegments(out: Uint32Array, { numbers }: SegmentList, first = 0): void {
  let word = first * (SEGMENT_SIZE / 4);
  for (let index = 0; index < numbers.length; index++) {
    const number = numbers[index] as number;
    out[word++] = number;
    out[word++] = number / HIGH;
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
    difference: readDifference(bytes, offset + 96),
    received: readU64(bytes, offset + 104),
    dma: decodeDma(bytes, offset),
  };
}

function readDifference(bytes: Buffer, offset: number): number | undefined {
  const none =
    bytes.readUInt32LE(offset) === HIGH - 1 && bytes.readUInt32LE(offset + 4) === HIGH - 1;
  return none ? undefined : readU64(bytes, offset);
}

/** What nearly every completion says of the DMA engine; not made anew for each. */
export const NO_DMA: Completion['dma'] = {
  error: 'none',
  channels: [],
  failedChannel: undefined,
  retries: 0,
};

function decodeDma(bytes: Buffer, offset: number): Completion['dma'] {
  const error = bytes.readUInt32LE(offset + 76);
  const low = bytes.readUInt32LE(offset + 80);
  const high = bytes.readUInt32LE(offset + 84);
  const failed = bytes.readUInt32LE(offset + 88);
  const retries = bytes.readUInt32LE(offset + 92);
  if (error === 0 && low === 0 && high === 0 && failed === NO_CHANNEL && retries === 0) {
    return NO_DMA;
  }
  const channels = Array.from({ length: 64 }, (_, id) => id).filter(
    (id) => (((id < 32 ? low : high) >>> (id % 32)) & 1) === 1,
  );
  return {
    error: DMA_ERRORS[error] ?? 'lost',
    channels,
    failedChannel: failed === NO_CHANNEL ? undefined : failed,
    retries,
  };
}

/** A DMA channel, and its counters since the module found it. */
export interface Channel {
  id: number;
  name: string;
  driver: string;
  state: ChannelState;
  numaNode: number | null;
  /** Operations that the hardware has now. */
  inFlight: number;
  operations: number;
  bytes: number;
  errors: {
    /** Operations whose source could not be read. */
    read: number;
    /** Operations whose destination could not be written. */
    write: number;
    /** Operations thrown out with another's fault. */
    aborted: number;
    /** Operations whose end the driver never told. */
    lost: number;
    /** Requests whose time was over while it had a part of them. */
    timeout: number;
  };
  /** Times that it came back. */
  recoveries: number;
}

/** Reads a struct dma_shim_channel_info. */
export function decodeChannel(bytes: Buffer, id: number): Channel {
  const numaNode = bytes.readInt32LE(4);
  return {
    id,
    name: cString(bytes.subarray(16, 48)),
    driver: cString(bytes.subarray(48, 80)),
    state: CHANNEL_STATES[bytes.readUInt32LE(0)] ?? 'set_aside',
    numaNode: numaNode < 0 ? null : numaNode,
    inFlight: bytes.readUInt32LE(8),
    operations: readU64(bytes, 80),
    bytes: readU64(bytes, 88),
    errors: {
      read: readU64(bytes, 96),
      write: readU64(bytes, 104),
      aborted: readU64(bytes, 112),
      lost: readU64(bytes, 120),
      timeout: readU64(bytes, 128),
    },
    recoveries: readU64(bytes, 136),
  };
}

/** A provider of DMA channels that the kernel module does not use. */
export interface RefusedProvider {
  driver: string;
  device: string;
  reason: Refusal;
}

/** Reads the struct dma_shim_refused of a struct dma_shim_dma_info. */
export function decodeRefused(info: Buffer): RefusedProvider[] {
  return Array.from({ length: info.readUInt32LE(16) }, (_, n) => {
    const refused = info.subarray(24 + n * REFUSED_SIZE, 24 + (n + 1) * REFUSED_SIZE);
    return {
      driver: cString(refused.subarray(0, 32)),
      device: cString(refused.subarray(32, 64)),
      reason: REFUSALS[refused.readUInt32LE(64) - 1] ?? 'other',
    };
  });
}

/** The text up to the first NUL. */
export function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
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
