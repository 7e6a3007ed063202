// SPDX-License-Identifier: Apache-2.0

/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = new Int32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  return value;
});

/**
 * CRC-32C as RFC 3720 has it, one byte at a time: nothing of it is shared with the native one.
 *
 * @param seed the CRC of what came before
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (let i = 0; i < bytes.length; i++) {
    crc = (TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** The same as the daemon writes it: 8 hex digits. */
export function crc32cText(bytes: Uint8Array): string {
  return crc32c(bytes).toString(16).padStart(8, '0');
}
