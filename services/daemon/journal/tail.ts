// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';

/** LevelDB's log format (its doc/log_format.md): records in blocks, cut where a block ends. */
const BLOCK = 32_768;
/** CRC (4), length (2), type (1). */
const HEADER = 7;
const FULL = 1;
const LAST = 4;

/**
 * Whether a log of LevelDB's ends where a record ends. LevelDB passes over a torn tail without a
 * word, for whatever was being written when a machine failed looks so; but so does a tail that was
 * spoilt later, and that may have held what was synced. (A wrong checksum it does tell of.)
 */
export function endsWhole(path: string): boolean {
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
    if (at + HEADER > bytes.length) return false;
    type = bytes.readUInt8(at + 6);
    at += HEADER + bytes.readUInt16LE(at + 4);
    if (type < FULL || type > LAST) return false;
  }
  return at === bytes.length && (type === FULL || type === LAST);
}
