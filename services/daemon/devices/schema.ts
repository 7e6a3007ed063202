// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';
import { crc32cSchema } from '../../base/crc32c.ts';
import {
  CONTENT_DIRECTIONS,
  DEVICE_STATES,
  FLUSH_BASES,
  PERSISTENCE,
} from '../../base/vocabulary.ts';
import { problemSchema } from '../../http/problems/schema.ts';

/** Why reading a device's bytes is refused or fails, apart from the range. */
export const READ_PROBLEMS = [
  ...(['not_found', 'bad_block', 'queue_full', 'media_error', 'device_gone'] as const),
] as const;

/** Why writing a device's bytes is refused or fails, with how much of the body is written. */
export const WRITE_PROBLEMS = [
  ...(['invalid_request', 'request_timeout', 'payload_too_large'] as const),
  ...(['precondition_failed', 'out_of_range', 'bad_block', 'digest_mismatch'] as const),
  ...(['queue_full'] as const),
  ...(['internal_error', 'media_error', 'device_gone', 'overloaded'] as const),
  ...(['shutting_down', 'storage_full'] as const),
] as const;

const bytes = z.int().min(0);

/** How persistent bytes are that were written. */
export const durabilitySchema = z.object({
  requested: z.enum(['flush', 'none']),
  achieved: z.enum(['flush', 'none', 'volatile']).meta({
    description: 'volatile: the destination cannot be persistent.',
  }),
  basis: z.enum(FLUSH_BASES).nullable().meta({ description: 'What made it persistent.' }),
});

export type Durability = z.output<typeof durabilitySchema>;

export const deviceSchema = z
  .object({
    name: z.string(),
    path: z.string().meta({ description: 'The character device, or the file that stands in.' }),
    kind: z.enum(['devdax', 'emulated']),
    uuid: z
      .string()
      .nullable()
      .meta({
        description:
          "What its memory is known by, whatever its name: an NVDIMM namespace's uuid, as `ndctl list` " +
          'shows it, or that of a CXL region. null: it has none.',
      }),
    resource: bytes.nullable().meta({
      description: 'The physical address of a device-dax device; null if it is not known.',
    }),
    size: bytes,
    align: bytes.meta({ description: 'Of mappings; copies need none.' }),
    numa_node: z.int().nullable(),
    persistence_domain: z.enum(PERSISTENCE).meta({
      description:
        'What a store must reach to survive a power failure. volatile: nothing survives. unknown: ' +
        'an NVDIMM of which the platform does not say, whose CPU caches are written back; or a ' +
        'file on a file system that is not known to keep what is synced, or on an unknown disk.',
    }),
    bad_blocks: z.array(z.object({ offset: bytes, size: bytes })),
    state: z.enum(DEVICE_STATES).meta({
      description:
        'gone: it was removed, unbound from its driver, or lost some of its bytes; it is taken up ' +
        'again when it is back.',
    }),
    state_reason: z.string().nullable().meta({ description: 'Why it is gone.' }),
    inconsistent: z
      .array(
        z.object({
          offset: bytes,
          size: bytes,
          replication: z
            .uuid()
            .optional()
            .meta({
              description:
                'The last one to write there, or whose bytes were copied there; absent if the client ' +
                'does not see it.',
            }),
        }),
      )
      .meta({
        description:
          'Ranges that a replication has begun to write and has not proven: neither what they were ' +
          'nor what its source is; and where such bytes were copied to, or may have been. A range that was ' +
          'overwritten without a flush is listed again by the next daemon. Those that the client may touch, disjoint and in their order; of ' +
          'more than 1000 the rest is one range, with what lies between them.',
      }),
  })
  .meta({ id: 'Device' });

export const deviceListSchema = z
  .object({ devices: z.array(deviceSchema) })
  .meta({ id: 'DeviceList' });

export const deviceParams = z.object({
  name: z.string().meta({ description: 'The name of a device, such as dax0.0.' }),
});

export const uploadQuerySchema = z.strictObject({
  offset: byteCount(0).default(0).meta({ description: 'Where in the device the body goes.' }),
  durability: z
    .enum(['flush', 'none'])
    .optional()
    .meta({
      description:
        'flush: the answer means that the bytes are as persistent as the device can be; a file is ' +
        'synced piece by piece for it. By default: flush where the CPU does it, none on files.',
    }),
});

export const uploadResultSchema = z
  .object({
    bytes_written: bytes,
    crc32c: crc32cSchema,
    durability: durabilitySchema,
  })
  .meta({ id: 'UploadResult' });

/** The problem of an upload that was refused, cut short or failed. */
export const uploadProblemSchema = problemSchema
  .extend({
    bytes_written: bytes.optional().meta({
      description: 'How much of the body, from its beginning, is in the device.',
    }),
  })
  .meta({ id: 'UploadProblem' });

export const checksumQuerySchema = z.strictObject({
  offset: byteCount(0).default(0),
  size: byteCount(1).optional().meta({ description: "Up to the device's end if absent." }),
});

const time = z.iso.datetime({ precision: 3 });

export const streamSchema = z
  .object({
    request_id: z.uuid().meta({
      description: 'The `x-request-id` of its request, by which the log names it.',
    }),
    direction: z.enum(CONTENT_DIRECTIONS),
    status: z.enum(['queued', 'running']).meta({
      description: 'queued: an upload that waits for others which touch the same bytes.',
    }),
    device_name: z.string(),
    offset: bytes,
    size: bytes.meta({
      description: "Of what it moves; up to the device's end if an upload's length is not known.",
    }),
    bytes_completed: bytes.meta({
      description: 'Written into the device, or sent, from the beginning on.',
    }),
    created_at: time,
    started_at: time.nullable(),
    client: z.string().optional().meta({
      description: "Whose it is, for those who see everybody's.",
    }),
  })
  .meta({ id: 'Stream' });

export type StreamDocument = z.output<typeof streamSchema>;

export const streamListSchema = z
  .object({
    streams: z.array(streamSchema).meta({ description: 'At most 1000.' }),
    total: z.int().min(0).meta({ description: 'How many there are.' }),
  })
  .meta({ id: 'StreamList' });

export type StreamListDocument = z.output<typeof streamListSchema>;

export const checksumSchema = z.object({ crc32c: crc32cSchema }).meta({ id: 'Checksum' });

/** Ranges of a device that a replication has left, or has yet to make, consistent. */
export type InconsistentRanges = z.output<typeof deviceSchema>['inconsistent'];

/** A device as clients see it. */
export type DeviceDocument = z.output<typeof deviceSchema>;
