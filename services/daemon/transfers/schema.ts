// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount, isByteCount } from '../../base/byte-count.ts';
import { crc32cSchema } from '../../base/crc32c.ts';
import { type GivenSegment, type Segment, SegmentList } from '../../base/segments.ts';
import { ENGINE_NAMES, MAX_SEGMENTS, OPERATIONS, PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { problemSchema } from '../../http/problems/schema.ts';
import { durabilitySchema } from '../devices/schema.ts';

/** How a transfer can end. */
export const ENDS = ['succeeded', 'failed', 'cancelled', 'interrupted'] as const;
export type End = (typeof ENDS)[number];
export const STATUSES = ['queued', 'running', ...ENDS] as const;
export type Status = (typeof STATUSES)[number];

export const MAX_LABELS = 16;
const MAX_LABEL_KEY = 63;
const MAX_LABEL_VALUE = 255;
const MAX_DEPENDENCIES = 100;
const MAX_BATCH = 1000;
const MAX_TIMEOUT_MS = 86_400_000;
const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 1000;

export const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;
/** A string as structured fields have it (RFC 9651, 3.3.3). */
const QUOTED = /^"((?:[^"\\]|\\["\\])*)"$/;
/**
 * The key that a header's value names. The Idempotency-Key draft has clients send it as a
 * structured field, in quotes; many leave those out, and a retry by another library may have them.
 */
export function readKey(value: string): string {
  const quoted = QUOTED.exec(value)?.[1];
  return quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1');
}

export const idempotencyKeySchema = z
  .string()
  .overwrite(readKey)
  .regex(IDEMPOTENCY_KEY, 'must have 1 to 255 printable ASCII characters');

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

export const labelsSchema = z
  .record(labelKey, characters(0, MAX_LABEL_VALUE))
  .refine((pairs) => Object.keys(pairs).length <= MAX_LABELS, `may have up to ${MAX_LABELS} pairs`)
  .meta({ maxProperties: MAX_LABELS });

const dependsOn = z.array(z.string()).max(MAX_DEPENDENCIES);

export const timeoutMsSchema = z.int().min(1).max(MAX_TIMEOUT_MS);

/** 1, 2, 4 … 64 bytes in hex digits. */
const PATTERN =
  /^(?:[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}){1,2}|(?:[0-9a-fA-F]{16}){1,2}|(?:[0-9a-fA-F]{64}){1,2})$/;

const segmentSchema = z.strictObject({
  src_offset: byteCount(0).optional().meta({ description: 'Required, unless it is a fill.' }),
  dst_offset: byteCount(0),
  size: byteCount(1),
});

/** Whether these are segments as the schema gives them back, or have been read as such. */
function arePlainSegments(value: unknown): value is GivenSegment[] {
  if (value instanceof SegmentList) return true;
  const isList = Array.isArray(value) && value.length >= 1 && value.length <= MAX_SEGMENTS;
  return isList && value.every(isPlainSegment);
}

function isPlainSegment(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { src_offset, dst_offset, size } = value as Partial<Segment>;
  return (
    (src_offset === undefined || isByteCount(src_offset, 0)) &&
    isByteCount(dst_offset, 0) &&
    isByteCount(size, 1) &&
    countMembers(value) === ('src_offset' in value ? 3 : 2)
  );
}

/** Object.keys() would make an array for each of thousands of segments. */
function countMembers(value: object): number {
  let count = 0;
  for (const _ in value) count++;
  return count;
}

/** zod makes some twenty objects to parse one, and says what is wrong. */
const segments = z.withParser(z.array(segmentSchema).min(1).max(MAX_SEGMENTS), (value) =>
  arePlainSegments(value) ? value : z.INVALID,
);

/** Indexes of segments that have a source though a fill has none, or have none. */
function* wrongSources(segments: unknown, fills: boolean): Generator<number> {
  if (segments instanceof SegmentList) {
    if (segments.hasSources === fills) yield* Array(segments.length).keys();
    return;
  }
  for (const [index, segment] of Array.isArray(segments) ? segments.entries() : []) {
    if (typeof segment !== 'object' || segment === null || Array.isArray(segment)) continue;
    if (((segment as Partial<Segment>).src_offset !== undefined) === fills) yield index;
  }
}

const PIECE_FIELDS = ['src_offset', 'dst_offset', 'size'] as const;

export const transferRequestSchema = z
  .strictObject(
    {
      operation: z
        .enum(OPERATIONS)
        .default('copy')
        .meta({
          description:
            'copy; fill: writes a pattern over ranges of device_name; compare: reads both ranges, up ' +
            'to the first byte that differs.',
        }),
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
      pattern: z
        .string()
        .regex(PATTERN, 'must be 1, 2, 4, 8, 16, 32 or 64 bytes as hex digits, such as "00"')
        .optional()
        .meta({
          description:
            'What a fill writes, "00" by default. It begins anew at each segment; a last part of it ' +
            'is cut.',
        }),
      engine: z.enum(['auto', 'dma', 'cpu']).default('auto'),
      durability: z.enum(['flush', 'none']).optional().meta({
        default: 'flush',
        description: 'flush: succeeded means as persistent as the destination can be.',
      }),
      verify: z
        .enum(['none', 'crc32c'])
        .optional()
        .meta({
          default: 'none',
          description:
            'crc32c: source and destination are compared after the copy; after a fill, destination and ' +
            'pattern.',
        }),
      timeout_ms: timeoutMsSchema.optional().meta({ description: 'From acceptance.' }),
      priority: z.enum(PRIORITY_NAMES).default('normal'),
      labels: labelsSchema.default({}),
      depends_on: dependsOn.optional().meta({
        description:
          "Ids of the client's transfers. It starts after they have succeeded; if one ends otherwise, " +
          'it fails with `dependency_failed`, and nothing moves.',
      }),
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
      const complain = (message: string, ...path: (string | number)[]) =>
        context.addIssue({ code: 'custom', path, message });
      const fills = body.operation === 'fill';
      for (const field of PIECE_FIELDS) {
        const given = body[field] !== undefined;
        if (fills && field === 'src_offset') {
          if (given) complain('cannot be given for a fill, which reads nothing', field);
        } else if (body.segments === undefined && !given) {
          complain('is required, unless segments are given', field);
        } else if (body.segments !== undefined && given) {
          complain('cannot be given beside segments: leave one of them out', field);
        }
      }
      for (const index of wrongSources(body.segments, fills)) {
        const message = fills ? 'cannot be given for a fill, which reads nothing' : 'is required';
        complain(message, 'segments', index, 'src_offset');
      }
      if (fills && body.dst_device_name !== undefined) {
        complain('cannot be given for a fill: device_name is written', 'dst_device_name');
      }
      if (!fills && body.pattern !== undefined) {
        complain('can be given for a fill only', 'pattern');
      }
      if (body.operation === 'compare') {
        for (const field of ['durability', 'verify'] as const) {
          if (body[field] !== undefined) {
            complain('cannot be given for a comparison, which writes nothing', field);
          }
        }
      }
    },
    // Also where fields are wrong, so that one answer tells all; what a field's own check has
    // found is told first.
    { when: ({ value }) => typeof value === 'object' && value !== null && !Array.isArray(value) },
  )
  .meta({ id: 'TransferRequest' });

type PlainTransferRequest = z.output<typeof transferRequestSchema>;

/** Many segments are a list instead of an array, if they were read as such: see segments-body.ts. */
export type TransferRequest = Omit<PlainTransferRequest, 'segments'> & {
  segments?: PlainTransferRequest['segments'] | SegmentList;
};

/** What each request of a batch has beside what POST /transfers takes. */
export const batchedFields = {
  idempotency_key: idempotencyKeySchema.optional().meta({
    description: 'As the header Idempotency-Key of POST /transfers.',
  }),
};

/** What POST /transfers/batch takes, of requests with {@link batchedFields}. */
export function batchOf<Request extends z.ZodType<{ dry_run: boolean }>>(request: Request) {
  return z
    .strictObject(
      { transfers: z.array(request).min(1).max(MAX_BATCH) },
      { error: ({ code }) => (code === 'invalid_type' ? 'must be a JSON object' : undefined) },
    )
    .superRefine(({ transfers }, context) => {
      const [first] = transfers;
      for (const [index, { dry_run }] of transfers.entries()) {
        if (dry_run === first?.dry_run) continue;
        const message = 'must be the same for all transfers of a batch';
        context.addIssue({ code: 'custom', path: ['transfers', index, 'dry_run'], message });
        return;
      }
    });
}

const batchedRequestSchema = transferRequestSchema
  .safeExtend(batchedFields)
  .meta({ id: 'BatchedTransferRequest' });

export const transferBatchSchema = batchOf(batchedRequestSchema).meta({ id: 'TransferBatch' });

export const labelPatchSchema = z
  .record(labelKey, characters(0, MAX_LABEL_VALUE).nullable())
  .nullable()
  .meta({ description: 'Added to those that there are, or in their place; null removes one.' });

/** A merge patch (RFC 7396). */
export const transferPatchSchema = z
  .strictObject(
    {
      priority: z.enum(PRIORITY_NAMES).nullable().optional(),
      timeout_ms: timeoutMsSchema.nullable().optional().meta({ description: 'From acceptance.' }),
      labels: labelPatchSchema.optional(),
    },
    { error: ({ code }) => (code === 'invalid_type' ? 'must be a JSON object' : undefined) },
  )
  .meta({
    id: 'TransferPatch',
    description: 'What is not named stays as it is; null means the default.',
  });

export type TransferPatch = z.output<typeof transferPatchSchema>;

const bytes = z.int().min(0);
const nanoseconds = z.int().min(0);
const time = z.iso.datetime({ precision: 3 });

/** A fill's have no src_offset. */
const toldSegmentSchema = z.object({
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
    segments: z.array(toldSegmentSchema).nullable(),
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
const basicTransferSchema = transferSchema
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
    segments: z.array(toldSegmentSchema),
    bytes,
  })
  .meta({ id: 'DryRun', description: 'What a transfer would do.' });

/** The problem of a transfer that failed while its client waited. */
export const transferProblemSchema = problemSchema
  .extend({ transfer: transferSchema.optional() })
  .meta({ id: 'TransferProblem' });

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

export const labelFilterSchema = z
  .union([z.string(), z.array(z.string()).max(MAX_LABELS)])
  .transform((given) => [given].flat())
  .refine((pairs) => pairs.every((pair) => /^[^:]+:/.test(pair)), 'must be key:value');

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

const MAX_INTERVAL_MS = 60_000;

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
