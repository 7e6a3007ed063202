// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import {
  ENGINE_NAMES,
  FLUSH_BASES,
  MAX_SEGMENTS,
  PRIORITY_NAMES,
  type Segment,
} from '../engines/records.ts';
import { byteCount, isByteCount } from '../http/byte-count.ts';
import { crc32cSchema } from '../http/crc32c.ts';
import { passPlain } from '../http/pass-plain.ts';
import { problemSchema } from '../problems/schema.ts';

/** How a transfer can end. */
export const ENDS = ['succeeded', 'failed', 'cancelled', 'interrupted'] as const;
export type End = (typeof ENDS)[number];
export const STATUSES = ['queued', 'running', ...ENDS] as const;
export type Status = (typeof STATUSES)[number];

const MAX_LABELS = 16;
const MAX_LABEL_KEY = 63;
const MAX_LABEL_VALUE = 255;
const MAX_TIMEOUT_MS = 86_400_000;
const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 1000;

/** Lengths are in characters, as in JSON Schema, not in UTF-16 units. */
function characters(minimum: number, maximum: number) {
  return z
    .string()
    .refine((text) => {
      const { length } = [...text];
      return length >= minimum && length <= maximum;
    }, `must have ${minimum} to ${maximum} characters`)
    .meta({ minLength: minimum, maxLength: maximum });
}

const labelKey = characters(1, MAX_LABEL_KEY)
  .refine((key) => !key.includes(':'), 'must have no ":", which separates key and value in a query')
  .meta({ pattern: '^[^:]*$' });

const labels = z
  .record(labelKey, characters(0, MAX_LABEL_VALUE))
  .refine((pairs) => Object.keys(pairs).length <= MAX_LABELS, `may have up to ${MAX_LABELS} pairs`)
  .meta({ maxProperties: MAX_LABELS });

const segmentSchema = z.strictObject({
  src_offset: byteCount(0),
  dst_offset: byteCount(0),
  size: byteCount(1),
});

/** Whether these are segments as the schema gives them back. */
function arePlainSegments(value: unknown): boolean {
  return Array.isArray(value) && value.every(isPlainSegment);
}

function isPlainSegment(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { src_offset, dst_offset, size } = value as Partial<Segment>;
  return (
    isByteCount(src_offset, 0) &&
    isByteCount(dst_offset, 0) &&
    isByteCount(size, 1) &&
    Object.keys(value).length === 3
  );
}

const segments = passPlain(z.array(segmentSchema).min(1).max(MAX_SEGMENTS), arePlainSegments);

const PIECE_FIELDS = ['src_offset', 'dst_offset', 'size'] as const;

export const transferRequestSchema = z
  .strictObject(
    {
      device_name: z
        .string({ error: 'is required: a device such as "dax0.0" or "/dev/dax0.0"' })
        .meta({
          description: 'Source device, and destination too unless dst_device_name is given.',
        }),
      dst_device_name: z.string().optional().meta({ description: 'Destination device.' }),
      src_offset: byteCount(0).optional(),
      dst_offset: byteCount(0).optional(),
      size: byteCount(1).optional(),
      segments: segments.optional().meta({
        description:
          'Instead of src_offset, dst_offset and size: pieces applied as if one after the other.',
      }),
      engine: z.enum(['auto', 'dma', 'cpu']).default('auto'),
      durability: z.enum(['flush', 'none']).default('flush').meta({
        description: 'flush: succeeded means as persistent as the destination can be.',
      }),
      verify: z.enum(['none', 'crc32c']).default('none').meta({
        description: 'crc32c: source and destination are compared after the copy.',
      }),
      timeout_ms: z.int().min(1).max(MAX_TIMEOUT_MS).optional().meta({
        description: 'From acceptance.',
      }),
      priority: z.enum(PRIORITY_NAMES).default('normal'),
      labels: labels.default({}),
      dry_run: z
        .boolean()
        .default(false)
        .meta({ description: 'Answer with the plan; copy nothing.' }),
    },
    {
      error: ({ code }) => (code === 'invalid_type' ? 'must be a JSON object' : undefined),
    },
  )
  .superRefine(
    (body, context) => {
      for (const field of PIECE_FIELDS) {
        const given = body[field] !== undefined;
        if (body.segments === undefined && !given) {
          context.addIssue({
            code: 'custom',
            path: [field],
            message: 'is required, unless segments are given',
          });
        }
        if (body.segments !== undefined && given) {
          context.addIssue({
            code: 'custom',
            path: [field],
            message: 'cannot be given beside segments: leave one of them out',
          });
        }
      }
    },
    // Also where fields are wrong, so that one answer tells all; what a field's own check has
    // found is told first.
    { when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value) },
  )
  .meta({ id: 'TransferRequest' });

export type TransferRequest = z.output<typeof transferRequestSchema>;

const bytes = z.int().min(0);
const nanoseconds = z.int().min(0);
const time = z.iso.datetime({ precision: 3 });

export const transferSchema = z
  .object({
    id: z.uuid(),
    status: z.enum(STATUSES),
    device_name: z.string(),
    dst_device_name: z.string(),
    src_offset: bytes.nullable().meta({ description: 'null where segments were given.' }),
    dst_offset: bytes.nullable(),
    size: bytes.meta({ description: 'All bytes to copy: with segments, their sum.' }),
    segments: z.array(z.object({ src_offset: bytes, dst_offset: bytes, size: bytes })).nullable(),
    engine: z.enum(ENGINE_NAMES),
    engine_reason: z.string(),
    channels: z.array(z.string()).meta({ description: 'DMA channels that copied.' }),
    retries: z.int().min(0).meta({
      description: "How often a part was thrown out with another copy's fault, and tried again.",
    }),
    priority: z.enum(PRIORITY_NAMES),
    timeout_ms: z.int().nullable(),
    bytes_completed: bytes,
    progress: z.number().min(0).max(1),
    durability: z.object({
      requested: z.enum(['flush', 'none']),
      achieved: z.enum(['flush', 'none', 'volatile']).meta({
        description: 'volatile: the destination cannot be persistent.',
      }),
      basis: z.enum(FLUSH_BASES).nullable().meta({ description: 'What made it persistent.' }),
    }),
    verification: z
      .object({
        method: z.literal('crc32c'),
        segments: z.int().min(1),
        src: crc32cSchema,
        dst: crc32cSchema,
      })
      .nullable(),
    created_at: time,
    started_at: time.nullable(),
    finished_at: time.nullable(),
    timings: z.object({
      queue_ns: nanoseconds,
      copy_ns: nanoseconds,
      flush_ns: nanoseconds,
      verify_ns: nanoseconds,
      total_ns: nanoseconds.meta({ description: 'From acceptance to the end.' }),
    }),
    throughput_bytes_per_second: z.int().min(0).meta({ description: 'Bytes over copy_ns.' }),
    labels: z.record(z.string(), z.string()).readonly(),
    error: problemSchema.nullable(),
  })
  .meta({ id: 'Transfer' });

/** A transfer as clients see it. */
export type TransferDocument = z.output<typeof transferSchema>;

export const dryRunSchema = z
  .object({
    dry_run: z.literal(true),
    engine: z.enum(ENGINE_NAMES),
    engine_reason: z.string(),
    segments: z.array(z.object({ src_offset: bytes, dst_offset: bytes, size: bytes })),
    bytes,
  })
  .meta({ id: 'DryRun', description: 'What a transfer would do.' });

/** The problem of a transfer that failed while its client waited. */
export const transferProblemSchema = problemSchema
  .extend({ transfer: transferSchema.optional() })
  .meta({ id: 'TransferProblem' });

export const transferListQuerySchema = z.strictObject({
  status: z.enum(STATUSES).optional(),
  device_name: z.string().optional().meta({ description: 'As source or destination.' }),
  engine: z.enum(ENGINE_NAMES).optional(),
  label: z
    .union([z.string(), z.array(z.string()).max(MAX_LABELS)])
    .transform((given) => [given].flat())
    .refine((pairs) => pairs.every((pair) => /^[^:]+:/.test(pair)), 'must be key:value')
    .optional()
    .meta({ description: 'key:value; all that are given must match.' }),
  page_size: z
    .string()
    .regex(/^0*[1-9][0-9]*$/, 'must be a whole number, at least 1')
    .transform((text) => Math.min(Number(text), MAX_PAGE_SIZE))
    .default(DEFAULT_PAGE_SIZE)
    .meta({ description: `At most ${MAX_PAGE_SIZE}.` }),
  page_token: z.string().optional().meta({ description: 'next_page_token of the page before.' }),
});

export type TransferListQuery = z.output<typeof transferListQuerySchema>;

export const transferListSchema = z
  .object({
    transfers: z.array(transferSchema),
    next_page_token: z.string().meta({ description: 'Empty on the last page.' }),
  })
  .meta({ id: 'TransferList' });
