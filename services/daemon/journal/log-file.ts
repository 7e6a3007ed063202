// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';

/** LevelDB's log format (its doc/log_format.md): records in blocks, cut where a block ends. */
const BLOCK = 32_768;
/** CRC (4), length (2), type (1). */
const HEADER = 7;
const FULL = 1;
const LAST = 4;

/** What is wrong with a log that lost its end, be it while it was written. */
export const TORN = 'ends in the middle of a record';

/**
 * What is wrong with a log of LevelDB's, which passes over a torn tail without a word, for whatever
 * was being written when a machine failed looks so; but so does a tail that was spoilt later, and
 * that may have held what was synced. Of a wrong checksum it does tell, but only once it has
 * replaced the log by what it could read.
 */
export function damageOfLog(path: string): string | undefined {
  const bytes = readFileSync(path);
  let type = FULL;
  let at = 0;
  while (at < bytes.length) {
    const left = BLOCK - (at % BLOCK);
    if (left < HEADER) {
      // Too little for a header is filled with zeros.
      at += left;
      continue;
    }
    const end = at + HEADER + (at + HEADER > bytes.length ? 0 : bytes.readUInt16LE(at + 4));
    if (end > bytes.length) return TORN;
    type = bytes.readUInt8(at + 6);
    if (type < FULL || type > LAST || bytes.readUInt32LE(at) !== mask(crc32c(bytes, at + 6, end))) {
      return `has a record at ${at} that is not as it was written`;
    }
    at = end;
  }
  const whole = at === bytes.length && (type === FULL || type === LAST);
  return whole ? undefined : TORN;
}

/** LevelDB stores no checksum as it is, lest somebody take the checksum of one. */
function mask(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282_ead8) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Buffer, start: number, end: number): number {
  let crc = 0xffff_ffff;
  for (let at = start; at < end; at++) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return ~crc >>> 0;
}
