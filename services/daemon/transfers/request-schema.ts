// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount, isByteCount } from '../../base/byte-count.ts';
import { type GivenSegment, type Segment, SegmentList } from '../../base/segments.ts';
import { MAX_SEGMENTS, OPERATIONS, PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { idempotencyKeySchema } from './idempotency-key.ts';
import { labelPatchSchema, labelsSchema } from './labels.ts';

const MAX_DEPENDENCIES = 100;
const MAX_BATCH = 1000;
const MAX_TIMEOUT_MS = 86_400_000;

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
    // Also if fields are wrong, so that one answer has all errors; those that a field's own check
    // found stand first.
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
