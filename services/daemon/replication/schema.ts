// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import { PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { problemSchema } from '../../http/problems/schema.ts';
import { durabilitySchema } from '../devices/schema.ts';
import { labelFilterSchema, labelPatchSchema, labelsSchema } from '../transfers/labels.ts';
import { pageSchema, statusesOf } from '../transfers/list-schema.ts';
import { timeoutMsSchema } from '../transfers/request-schema.ts';
import { STATUSES, waitingForSchema } from '../transfers/schema.ts';

export const MODES = ['delta', 'full'] as const;
export type Mode = (typeof MODES)[number];

/** `unchanged`: not a byte has been written yet. */
export const CONSISTENCIES = ['unchanged', 'inconsistent', 'consistent'] as const;
export type Consistency = (typeof CONSISTENCIES)[number];

const MIN_BLOCK = 4 * 2 ** 10;
/** A block is held in memory until it is proven. */
const MAX_BLOCK = 16 * 2 ** 20;
/** A bit each is kept in memory and in the journal. */
export const MAX_BLOCKS = 2 ** 24;

/** Characters of a device's name. */
const MAX_NAME = 64;
/** The same of a peer's, as the peers file has it. */
const MAX_PEER_NAME = 63;

const isObject = ({ code }: { code?: string | undefined }) =>
  code === 'invalid_type' ? 'must be a JSON object' : undefined;

/** `/dev/dax0.0` is the same as `dax0.0`. It becomes a part of a path at the peer. */
const deviceName = z
  .string()
  .max(MAX_NAME + '/dev/'.length)
  .regex(
    /^(\/dev\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    `must be the name of a device: 1 to ${MAX_NAME} letters, digits, ".", "_" or "-"`,
  )
  .overwrite(deviceNameOf);

const bytesPerSecond = byteCount(1).nullable();

export const replicationRequestSchema = z
  .strictObject(
    {
      peer: z
        .string()
        .min(1)
        .max(MAX_PEER_NAME)
        .meta({ description: 'A name in DMAD_PEERS_FILE.' }),
      src_device_name: deviceName.meta({ description: "A device of the peer's." }),
      src_offset: byteCount(0),
      dst_device_name: deviceName.meta({ description: 'A device of this daemon.' }),
      dst_offset: byteCount(0),
      size: byteCount(1),
      block_size: byteCount(1)
        .refine(
          (size) => size >= MIN_BLOCK && size <= MAX_BLOCK && Number.isInteger(Math.log2(size)),
          'must be a power of two, 4KiB to 16MiB',
        )
        .default(2 ** 20)
        .meta({ description: 'What is compared, copied and proven at a time.' }),
      mode: z.enum(MODES).default('delta').meta({
        description: 'delta: only blocks that differ are copied; full: all, uncompared.',
      }),
      bytes_per_second: bytesPerSecond
        .default(null)
        .meta({ description: 'How fast it may read from the peer; null: as fast as it can.' }),
      priority: z.enum(PRIORITY_NAMES).default('normal'),
      labels: labelsSchema.default({}),
      timeout_ms: timeoutMsSchema.optional().meta({ description: 'From acceptance.' }),
    },
    { error: isObject },
  )
  .superRefine(
    ({ size, block_size: blockSize }, context) => {
      if (Math.ceil(size / blockSize) <= MAX_BLOCKS) return;
      const message = `would make more than ${MAX_BLOCKS} blocks: take larger ones`;
      context.addIssue({ code: 'custom', path: ['block_size'], message });
    },
    {
      when: ({ value }) => {
        const { size, block_size: blockSize } = (value ?? {}) as Record<string, unknown>;
        return typeof size === 'number' && typeof blockSize === 'number';
      },
    },
  )
  .meta({ id: 'ReplicationRequest' });

export type ReplicationRequest = z.output<typeof replicationRequestSchema>;

/** A merge patch (RFC 7396). */
export const replicationPatchSchema = z
  .strictObject(
    {
      bytes_per_second: bytesPerSecond.optional(),
      priority: z.enum(PRIORITY_NAMES).nullable().optional(),
      timeout_ms: timeoutMsSchema.nullable().optional().meta({ description: 'From acceptance.' }),
      labels: labelPatchSchema.optional(),
    },
    { error: isObject },
  )
  .meta({
    id: 'ReplicationPatch',
    description: 'What is not named stays as it is; null means the default.',
  });

export type ReplicationPatch = z.output<typeof replicationPatchSchema>;

const bytes = z.int().min(0);
const count = z.int().min(0);
const time = z.iso.datetime({ precision: 3 });

const replicationWaitSchema = waitingForSchema
  .extend({
    reason: z.enum([...waitingForSchema.shape.reason.options, 'peer']).meta({
      description: 'As of a transfer; peer: it does not answer, and is asked again.',
    }),
    since: time.optional().meta({ description: 'With peer: when it was last heard of.' }),
    why: z.string().optional().meta({ description: 'With peer: what went wrong.' }),
  })
  .meta({ id: 'ReplicationWaitingFor' });

export type ReplicationWait = z.output<typeof replicationWaitSchema>;

export const replicationSchema = z
  .object({
    id: z.uuid(),
    status: z.enum(STATUSES),
    waiting_for: replicationWaitSchema.nullable().meta({
      description: 'Why it has not started, or does not get on; else null.',
    }),
    peer: z.string(),
    src_device_name: z.string(),
    src_offset: bytes,
    dst_device_name: z.string(),
    dst_offset: bytes,
    size: bytes,
    block_size: bytes,
    mode: z.enum(MODES),
    bytes_per_second: bytes.nullable(),
    priority: z.enum(PRIORITY_NAMES),
    timeout_ms: z.int().nullable(),
    blocks: z
      .object({
        total: count,
        equal: count.meta({ description: 'Found equal, and not copied.' }),
        copied: count,
        again: count.meta({ description: 'Copies of blocks that had been copied before.' }),
      })
      .meta({ description: 'When it has succeeded, equal and copied add up to total.' }),
    bytes_on_wire: bytes.meta({ description: "Of answers' bodies: content and digests." }),
    round: z.int().min(0).meta({
      description:
        '0 before it starts, 1 while it copies; then each time that the source had changed, up to 5.',
    }),
    consistency: z.enum(CONSISTENCIES).meta({
      description:
        'unchanged: nothing is written yet; inconsistent: the destination is neither what it was ' +
        'nor what the source is; consistent: it is proven to be equal to the source.',
    }),
    bytes_completed: bytes,
    progress: z.number().min(0).max(1),
    durability: durabilitySchema,
    created_at: time,
    started_at: time.nullable(),
    finished_at: time.nullable(),
    labels: z.record(z.string(), z.string()).readonly(),
    traceparent: z.string().nullable().meta({
      description: 'The trace that its request was a part of (W3C Trace Context).',
    }),
    error: problemSchema.nullable(),
    client: z.string().optional().meta({
      description: "Whose it is, for those who see everybody's.",
    }),
  })
  .meta({ id: 'Replication' });

export type ReplicationDocument = z.output<typeof replicationSchema>;

/** The problem of a replication that failed while its client waited. */
export const replicationProblemSchema = problemSchema
  .extend({ replication: replicationSchema.optional() })
  .meta({ id: 'ReplicationProblem' });

export const replicationListQuerySchema = pageSchema.extend({
  status: statusesOf(STATUSES).optional(),
  peer: z.string().optional(),
  device_name: z.string().optional().meta({ description: 'As source or destination.' }),
  label: labelFilterSchema.optional().meta({
    description: 'key:value; all that are given must match.',
  }),
});

export type ReplicationListQuery = z.output<typeof replicationListQuerySchema>;

export const replicationListSchema = z
  .object({
    replications: z.array(replicationSchema),
    next_page_token: z.string().meta({ description: 'Empty on the last page.' }),
  })
  .meta({ id: 'ReplicationList' });
