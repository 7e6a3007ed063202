// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

/** A CRC-32C as clients see it: 8 hex digits. */
export const crc32cSchema = z.string().regex(/^[0-9a-f]{8}$/);

export function crc32cText(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
