// SPDX-License-Identifier: Apache-2.0
import type { EngineName } from '../../base/vocabulary.ts';

/** How long copies take: a line through what a small and a large one took. */
export interface Speed {
  /** What even the smallest copy takes, from its submission to its end, in nanoseconds. */
  latencyNs: number;
  bytesPerSecond: number;
}

/** What calibration found on this host. */
export interface Speeds extends Record<EngineName, Speed> {
  /** Of one copy that both engines share. */
  both: Speed;
}

/** What calibration measured, and where and when. */
export interface Calibration {
  /** ISO 8601. */
  measuredAt: string;
  /** The device whose bytes were overwritten; null for the daemon's own memory. */
  deviceName: string | null;
  cpu: Speed;
  dma?: Speed | undefined;
  both?: Speed | undefined;
}

/** What is known of the engines' speeds. */
export interface KnownSpeeds {
  readonly calibration: Calibration | undefined;
  /** Undefined if DMA has not been measured. */
  readonly speeds: Speeds | undefined;
}

/** Who is to copy, and why. */
export interface Division {
  engine: EngineName;
  /** Bytes at the end that the CPU copies while DMA copies those before; 0: one engine has all. */
  cpuBytes: number;
  reason: string;
}

/**
 * DMA is taken as long as it needs no more than this many times what the CPU would: it leaves the
 * CPU to others, which is what most who have it want it for.
 */
const DMA_PATIENCE = 1.5;
/** Both are taken if they need no more than this part of what DMA alone would. */
const BOTH_GAIN = 0.75;
/** A copy is divided at a multiple of this: a page of the page tables' next level. In bytes. */
const DIVISION = 2 ** 21;

/**
 * Decides who copies.
 *
 * @param pending bytes that each engine has been given and has not copied yet
 * @param divisible whether both may have a part of it
 */
export function divide(
  speeds: Speeds,
  bytes: number,
  pending: Readonly<Record<EngineName, number>>,
  divisible: boolean,
): Division {
  const { cpu, dma } = speeds;
  const times = {
    cpu: timeOf(cpu, pending.cpu + bytes),
    dma: timeOf(dma, pending.dma + bytes),
  };
  const said = `DMA would take ${text(times.dma)}, the CPU ${text(times.cpu)}`;
  const idle = pending.cpu === 0 && pending.dma === 0;
  if (idle && divisible && bytes >= (bothFrom(speeds) ?? Number.POSITIVE_INFINITY)) {
    const share = cpu.bytesPerSecond / (cpu.bytesPerSecond + dma.bytesPerSecond);
    const cpuBytes = Math.floor((bytes * share) / DIVISION) * DIVISION;
    const reason = `both engines are idle and share it, the CPU has the last ${cpuBytes} bytes: ${said}`;
    return { engine: 'dma', cpuBytes, reason };
  }
  const byDma = idle
    ? bytes >= (dmaFrom(speeds) ?? Number.POSITIVE_INFINITY)
    : times.dma <= times.cpu * DMA_PATIENCE;
  const reason = idle ? said : `with what is under way, ${said}`;
  return { engine: byDma ? 'dma' : 'cpu', cpuBytes: 0, reason };
}

/** The size from which on DMA is taken if nothing is in progress; undefined: none. In bytes. */
export function dmaFrom({ cpu, dma }: Speeds): number | undefined {
  return crossing(dma, {
    latencyNs: cpu.latencyNs * DMA_PATIENCE,
    bytesPerSecond: cpu.bytesPerSecond / DMA_PATIENCE,
  });
}

/** The size from which on both engines are taken for one copy; undefined: none. In bytes. */
export function bothFrom(speeds: Speeds): number | undefined {
  const { cpu, dma, both } = speeds;
  const gain = crossing(both, {
    latencyNs: dma.latencyNs * BOTH_GAIN,
    bytesPerSecond: dma.bytesPerSecond / BOTH_GAIN,
  });
  if (gain === undefined || dmaFrom(speeds) === undefined) return undefined;
  // Each part is at least what a copy is divided at.
  const slower = Math.min(cpu.bytesPerSecond, dma.bytesPerSecond);
  const parts = (DIVISION * (cpu.bytesPerSecond + dma.bytesPerSecond)) / slower;
  return Math.max(gain, Math.ceil(parts), dmaFrom(speeds) ?? 0);
}

/** The size from which on the first takes no longer than the second; undefined: none. In bytes. */
function crossing(first: Speed, second: Speed): number | undefined {
  const gainPerByte = nsPerByte(second) - nsPerByte(first);
  const behind = first.latencyNs - second.latencyNs;
  if (gainPerByte < 0 || (gainPerByte === 0 && behind > 0)) return undefined;
  const from = behind > 0 ? Math.ceil(behind / gainPerByte) : 1;
  return Number.isSafeInteger(from) ? Math.max(1, from) : undefined;
}

function nsPerByte({ bytesPerSecond }: Speed): number {
  return 1e9 / bytesPerSecond;
}

function timeOf(speed: Speed, bytes: number): number {
  return speed.latencyNs + bytes * nsPerByte(speed);
}

function text(ns: number): string {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(1)} s`;
}
