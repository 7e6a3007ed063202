// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { ENGINE_NAMES, OPERATIONS } from '../../base/vocabulary.ts';
import { labelFilterSchema } from './labels.ts';
import { basicTransferSchema, STATUSES, transferSchema } from './schema.ts';

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 1000;
const MAX_INTERVAL_MS = 60_000;

/** One status of those given, or several with commas between. */
export function statusesOf<Each extends string>(statuses: readonly Each[]) {
  return z
    .string()
    .refine(
      (text) => text.split(',').every((each) => (statuses as readonly string[]).includes(each)),
      `must be one or more of ${statuses.join(', ')}, with commas between`,
    )
    .transform((text) => [...new Set(text.split(','))].sort() as Each[])
    .meta({ description: 'One, or several with commas between.' });
}

const instant = z.iso
  .datetime({ offset: true, error: 'must be a time such as 2026-11-27T08:30:00Z' })
  .transform((text) => Date.parse(text));

/** Which part of a list. */
export const pageSchema = z.strictObject({
  page_size: z
    .string()
    .regex(/^0*[1-9][0-9]*$/, 'must be a whole number, at least 1')
    .transform((text) => Math.min(Number(text), MAX_PAGE_SIZE))
    .default(DEFAULT_PAGE_SIZE)
    .meta({ description: `At most ${MAX_PAGE_SIZE}.` }),
  page_token: z.string().optional().meta({ description: 'next_page_token of the page before.' }),
});

/** Which transfers a list or a stream of events has, and how much of each. */
export const transferFilterSchema = z.strictObject({
  status: statusesOf(STATUSES).optional(),
  created_after: instant.optional().meta({ description: 'Accepted at that time or later.' }),
  created_before: instant.optional().meta({ description: 'Accepted before that time.' }),
  view: z.enum(['full', 'basic']).default('full').meta({
    description: 'basic: without segments and timings.',
  }),
  operation: z.enum(OPERATIONS).optional(),
  device_name: z.string().optional().meta({ description: 'As source or destination.' }),
  engine: z.enum(ENGINE_NAMES).optional(),
  label: labelFilterSchema.optional().meta({
    description: 'key:value; all that are given must match.',
  }),
});

export type TransferFilter = z.output<typeof transferFilterSchema>;

export const eventsQuerySchema = transferFilterSchema.extend({
  interval_ms: z
    .string()
    .regex(/^[0-9]{1,5}$/, 'must be a whole number of milliseconds')
    .transform(Number)
    .refine((ms) => ms <= MAX_INTERVAL_MS, `must be ${MAX_INTERVAL_MS} at most`)
    .optional()
    .meta({
      description:
        'At most one event of each transfer in so many milliseconds, with how it stands then. Of ' +
        'transfers that began and ended meanwhile, the latest 30.',
    }),
});

export type EventsQuery = z.output<typeof eventsQuerySchema>;

export const transferListQuerySchema = transferFilterSchema.extend(pageSchema.shape);

export type TransferListQuery = z.output<typeof transferListQuerySchema>;

export const transferListSchema = z
  .object({
    transfers: z.array(z.union([transferSchema, basicTransferSchema])),
    next_page_token: z.string().meta({ description: 'Empty on the last page.' }),
  })
  .meta({ id: 'TransferList' });
