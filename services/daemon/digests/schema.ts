// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';

const bytes = z.int().min(0);
const MIN_BLOCK = 4 * 2 ** 10;
const MAX_BLOCK = 2 ** 30;

const blockSize = byteCount(1)
  .refine(
    (size) => size >= MIN_BLOCK && size <= MAX_BLOCK && Number.isInteger(Math.log2(size)),
    'must be a power of two, 4KiB to 1GiB',
  )
  .default(2 ** 20)
  .meta({ description: 'A power of two, 4KiB to 1GiB; blocks are counted from `offset`.' });

export const digestsQuerySchema = z.strictObject({
  offset: byteCount(0).default(0),
  size: byteCount(1).optional().meta({ description: "Up to the device's end if absent." }),
  block_size: blockSize,
  algorithm: z.enum(['sha256']).default('sha256'),
  page_token: z
    .string()
    .optional()
    .meta({ description: 'next_page_token of the page before; of JSON only.' }),
});

export const digestPageSchema = z
  .object({
    algorithm: z.enum(['sha256']),
    block_size: bytes,
    offset: bytes.meta({ description: 'Of the range, not of the page.' }),
    size: bytes,
    digests: z.array(z.string().meta({ pattern: '^[0-9a-f]{64}$' })).meta({
      description: 'One for each block, in order; the last block may be shorter.',
    }),
    next_page_token: z.string().meta({ description: 'Empty on the last page.' }),
  })
  .meta({ id: 'DigestPage' });
