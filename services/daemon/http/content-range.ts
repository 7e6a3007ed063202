// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../devices/sysfs.ts';
import { Problem } from '../problems/problem.ts';

/**
 * Reads a Range header (RFC 9110): one range of bytes. Several, reversed or unreadable ones are
 * ignored, as the RFC allows.
 *
 * @param size of the whole, in bytes
 * @returns the range; undefined for the whole
 * @throws Problem range_not_satisfiable
 */
export function readRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$/i.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const wanted = Math.min(Number(suffix), size);
    if (wanted === 0) throw notSatisfiable(size);
    return { offset: size - wanted, size: wanted };
  }
  const offset = Number(first);
  const end = last === '' ? Number.POSITIVE_INFINITY : Number(last);
  if (end < offset) return undefined;
  if (offset >= size) throw notSatisfiable(size);
  return { offset, size: Math.min(end, size - 1) - offset + 1 };
}

function notSatisfiable(size: number): Problem {
  return new Problem(
    'range_not_satisfiable',
    `The device has ${size} bytes: ask for some of them.`,
    {
      headers: { 'content-range': `bytes */${size}` },
    },
  );
}
