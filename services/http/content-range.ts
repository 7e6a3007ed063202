// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import type { ByteRange } from '../base/byte-range.ts';
import { Problem } from './problems/problem.ts';

/**
 * The Range header that counts. Content has no validators, so no If-Range can hold, and then Range is
 * ignored (RFC 9110, 13.1.5): a client that resumes gets the whole instead of a part of other bytes.
 */
export function rangeAsked({ range, 'if-range': condition }: IncomingHttpHeaders) {
  return condition === undefined ? range : undefined;
}

/**
 * Reads a Range header (RFC 9110): one range of bytes. Several, reversed or unreadable ones are
 * ignored, as the RFC allows.
 *
 * @param size of the whole, in bytes
 * @returns the range; undefined for the whole
 * @throws Problem range_not_satisfiable
 */
export function readRange(header: string | undefined, size: number): ByteRange | undefined {
  const range = findRange(header, size);
  if (range !== 'outside') return range;
  throw new Problem(
    'range_not_satisfiable',
    `The range lies outside the device, which has ${size} bytes.`,
    { headers: { 'content-range': `bytes */${size}` } },
  );
}

/** The same, without an opinion on a range that lies outside. */
export function findRange(
  header: string | undefined,
  size: number,
): ByteRange | 'outside' | undefined {
  const match = /^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$/i.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const wanted = Math.min(Number(suffix), size);
    return wanted === 0 ? 'outside' : { offset: size - wanted, size: wanted };
  }
  const offset = Number(first);
  const end = last === '' ? Number.POSITIVE_INFINITY : Number(last);
  if (end < offset) return undefined;
  if (offset >= size) return 'outside';
  return { offset, size: Math.min(end, size - 1) - offset + 1 };
}
