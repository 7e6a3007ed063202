// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { crc32cSchema } from '../../base/crc32c.ts';
import { ENGINE_NAMES, OPERATIONS, PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { problemSchema } from '../../http/problems/schema.ts';
import { durabilitySchema } from '../devices/schema.ts';

/** How a transfer can end. */
export const ENDS = ['succeeded', 'failed', 'cancelled', 'interrupted'] as const;
export type End = (typeof ENDS)[number];
export const STATUSES = ['queued', 'running', ...ENDS] as const;
export type Status = (typeof STATUSES)[number];

const bytes = z.int().min(0);
const nanoseconds = z.int().min(0);
const time = z.iso.datetime({ precision: 3 });

/** A fill's have no src_offset. */
const shownSegmentSchema = z.object({
  src_offset: bytes.optional(),
  dst_offset: bytes,
  size: bytes,
});

export const waitingForSchema = z
  .object({
    reason: z.enum(['order', 'upload', 'slot', 'rate', 'journal']).meta({
      description:
        'order: earlier transfers that touch the same bytes; upload: into the same bytes; slot: ' +
        'others run, and as many as may at a time; rate: the bytes a second that the client may ' +
        'move; journal: a row on disk, or the history that is still being read after a start.',
    }),
    transfers: z
      .array(z.uuid())
      .optional()
      .meta({ description: "With order: up to 10 of the client's own that it waits for." }),
    seconds: z.int().min(0).optional().meta({ description: 'With rate: about how long.' }),
  })
  .meta({ id: 'WaitingFor' });

export type WaitingFor = z.output<typeof waitingForSchema>;

export const transferSchema = z
  .object({
    id: z.uuid(),
    status: z.enum(STATUSES),
    waiting_for: waitingForSchema.nullable().meta({
      description: 'Why it has not started; null once it has.',
    }),
    operation: z.enum(OPERATIONS),
    device_name: z.string(),
    dst_device_name: z.string(),
    src_offset: bytes.nullable().meta({
      description: 'null if segments were given, and for a fill.',
    }),
    dst_offset: bytes.nullable(),
    size: bytes.meta({ description: 'All bytes of the operation: with segments, their sum.' }),
    segments: z.array(shownSegmentSchema).nullable(),
    pattern: z.string().nullable().meta({ description: 'Of a fill, in hex digits; else null.' }),
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
    durability: durabilitySchema,
    verification: z
      .object({
        method: z.literal('crc32c'),
        segments: z.int().min(1),
        src: crc32cSchema,
        dst: crc32cSchema,
      })
      .nullable(),
    comparison: z
      .object({
        equal: z.boolean(),
        first_difference: z
          .object({ segment: z.int().min(0), src_offset: bytes, dst_offset: bytes })
          .nullable()
          .meta({ description: 'Offsets in the devices of the first byte that differs.' }),
      })
      .nullable()
      .meta({ description: 'What a comparison found; null unless it succeeded.' }),
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
    depends_on: z.array(z.uuid()).readonly().meta({
      description: 'Transfers that it starts behind, once they have succeeded.',
    }),
    traceparent: z.string().nullable().meta({
      description: 'The trace that its request was a part of (W3C Trace Context).',
    }),
    error: problemSchema.nullable(),
    client: z
      .string()
      .optional()
      .meta({
        description:
          "Whose it is, for those who see everybody's: a token's name, `uid:N` of the Unix socket, or " +
          '`anonymous` where no tokens are in use.',
      }),
  })
  .meta({ id: 'Transfer' });

/** The same with `view=basic`. */
export const basicTransferSchema = transferSchema
  .omit({ segments: true, timings: true })
  .meta({ id: 'BasicTransfer' });

/** A transfer as clients see it. */
export type TransferDocument = z.output<typeof transferSchema>;
export type BasicTransferDocument = z.output<typeof basicTransferSchema>;

export const dryRunSchema = z
  .object({
    dry_run: z.literal(true),
    engine: z.enum(ENGINE_NAMES),
    engine_reason: z.string(),
    segments: z.array(shownSegmentSchema),
    bytes,
  })
  .meta({ id: 'DryRun', description: 'What a transfer would do.' });

/** The problem of a transfer that failed while its client waited. */
export const transferProblemSchema = problemSchema
  .extend({ transfer: transferSchema.optional() })
  .meta({ id: 'TransferProblem' });
