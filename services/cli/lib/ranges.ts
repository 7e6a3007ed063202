// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from 'commander';
import { formatByteCount, parseByteCount } from '../../base/byte-count-text.ts';

/** A place in a device; without a size where another range's counts, or all that follows. */
export interface DeviceRange {
  device: string;
  offset: number;
  size: number | undefined;
}

export type SizedRange = DeviceRange & { size: number };

const EXAMPLE = 'such as dax0.0:0+32MiB (from 0, 32 MiB), dax0.0:1MiB-2MiB, or dax0.0:1MiB';

/**
 * Reads DEVICE, DEVICE:OFFSET, DEVICE:OFFSET+SIZE or DEVICE:OFFSET-END, where END is the first byte behind
 * it. In a fleet a device is named with its host: hosta/dax0.0.
 */
export function parseRange(text: string): DeviceRange {
  const [, device = '', start, mark, stop] =
    /^([^:]+)(?::([^:+-]+)(?:([+-])([^:+-]+))?)?$/.exec(text) ?? [];
  if (device === '') throw new InvalidArgumentError(`"${text}" is no range: write one ${EXAMPLE}.`);
  const offset = start === undefined ? 0 : parseSize(start);
  if (stop === undefined) return { device, offset, size: undefined };
  const size = mark === '+' ? parseSize(stop) : parseSize(stop) - offset;
  if (size <= 0) throw new InvalidArgumentError(`"${text}" has no bytes.`);
  return { device, offset, size };
}

/** The same, of which the size must be given. */
export function parseSizedRange(text: string): SizedRange {
  const range = parseRange(text);
  if (range.size !== undefined) return { ...range, size: range.size };
  throw new InvalidArgumentError(`"${text}" does not say how much: write a range ${EXAMPLE}.`);
}

export function parseSize(text: string): number {
  const bytes = parseByteCount(text);
  if (bytes !== undefined) return bytes;
  throw new InvalidArgumentError(
    `"${text}" is no number of bytes: write one such as 4096, 0x1000 or 32MiB (KiB, MiB, GiB).`,
  );
}

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** @returns milliseconds */
export function parseDuration(text: string): number {
  const [, digits, unit] = /^([0-9]{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(digits) * UNITS_MS[unit as keyof typeof UNITS_MS];
  if (ms >= 1) return ms;
  throw new InvalidArgumentError(`"${text}" is no time: write one such as 500ms, 30s, 5m or 2h.`);
}

/** Collects --label key=value. */
export function parseLabel(
  text: string,
  before: Record<string, string> = {},
): Record<string, string> {
  const at = text.indexOf('=');
  if (at > 0) return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  throw new InvalidArgumentError(`"${text}" is no label: write key=value.`);
}

export function formatRange({ device, offset, size }: DeviceRange): string {
  const length = size === undefined ? '' : `+${formatByteCount(size)}`;
  return `${device}:${formatByteCount(offset)}${length}`;
}
