// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { hostNameSchema } from '../../base/host-name.ts';
import { ENGINE_NAMES } from '../../base/vocabulary.ts';
import { replicationRequestSchema, replicationSchema } from '../../daemon/replication/schema.ts';
import {
  eventsQuerySchema,
  pageSchema,
  statusesOf,
  transferFilterSchema,
} from '../../daemon/transfers/list-schema.ts';
import {
  batchedFields,
  batchOf,
  transferPatchSchema,
  transferRequestSchema,
} from '../../daemon/transfers/request-schema.ts';
import {
  dryRunSchema,
  ENDS,
  STATUSES,
  type Status,
  transferSchema,
} from '../../daemon/transfers/schema.ts';
import { problemSchema } from '../../http/problems/schema.ts';

/** accepted: in etcd, and not yet with its host. */
export const FLEET_STATUSES = ['accepted', ...STATUSES] as const;
export type FleetStatus = (typeof FLEET_STATUSES)[number];

/** What a replication takes beside a copy. */
const { mode, block_size, bytes_per_second } = replicationRequestSchema.shape;
const REPLICATION_ONLY = ['mode', 'block_size', 'bytes_per_second'] as const;
/** What a replication does not take, with what it does instead. */
const COPY_ONLY = [
  { field: 'segments', but: undefined, why: 'a replication has one range' },
  { field: 'durability', but: 'flush', why: 'a replication is always flushed' },
  { field: 'verify', but: 'none', why: 'a replication is always proven, by SHA-256' },
] as const;
/** The fields of a replication's request that have another name here. */
const OWN_NAMES: Readonly<Record<string, string>> = { src_device_name: 'device_name' };

export const fleetTransferRequestSchema = transferRequestSchema
  .safeExtend({
    host: hostNameSchema.meta({ description: 'The host that has the devices.' }),
    dst_host: hostNameSchema.optional().meta({
      description:
        "The host that has the destination, if it is another one: that host's daemon then makes its " +
        'range equal to that of `host`, which its peers file must name.',
    }),
    mode: mode.unwrap().optional().meta({ description: 'With dst_host, as of a replication.' }),
    block_size: block_size
      .unwrap()
      .optional()
      .meta({ description: 'With dst_host: what is compared, copied and proven at a time; 1MiB.' }),
    bytes_per_second: bytes_per_second.unwrap().optional().meta({
      description: 'With dst_host: how fast the source may be read; null: as fast as it can be.',
    }),
  })
  .superRefine(
    (body, context) => {
      const complain = (message: string, ...path: PropertyKey[]) =>
        context.addIssue({ code: 'custom', path, message });
      if (!isReplication(body)) {
        for (const field of REPLICATION_ONLY) {
          if (body[field] !== undefined) complain('can be given with another dst_host only', field);
        }
        return;
      }
      if (body.operation !== 'copy') complain('must be copy with dst_host', 'operation');
      if (body.engine !== 'auto') complain('must be auto with dst_host', 'engine');
      for (const { field, but, why } of COPY_ONLY) {
        if (body[field] === undefined || body[field] === but) continue;
        complain(`cannot be given with dst_host: ${why}`, field);
      }
      if (body.segments !== undefined || body.operation !== 'copy') return;
      const { error } = replicationRequestSchema.safeParse(replicationOf(body));
      for (const { path, message } of error?.issues ?? []) {
        const [field = ''] = path.map(String);
        complain(message, OWN_NAMES[field] ?? field, ...path.slice(1));
      }
    },
    // Only if its fields are what they should be: they are looked at together.
    { when: ({ issues }) => issues.length === 0 },
  )
  .meta({ id: 'FleetTransferRequest' });

export type FleetTransferRequest = z.output<typeof fleetTransferRequestSchema>;

const batchedRequestSchema = fleetTransferRequestSchema
  .safeExtend(batchedFields)
  .meta({ id: 'BatchedFleetTransferRequest' });

export const fleetTransferBatchSchema = batchOf(batchedRequestSchema).meta({
  id: 'FleetTransferBatch',
});

/** A merge patch (RFC 7396). */
export const fleetTransferPatchSchema = transferPatchSchema
  .extend({ bytes_per_second: bytes_per_second.unwrap().optional() })
  .meta({
    id: 'FleetTransferPatch',
    description:
      'What is not named stays as it is; null means the default. `bytes_per_second` is for ' +
      'replications.',
  });

export type FleetTransferPatch = z.output<typeof fleetTransferPatchSchema>;

interface HostPair {
  host: string;
  dst_host?: string | undefined;
}

/** Whether a transfer goes to another host, and is a replication there. */
export function isReplication({ host, dst_host }: HostPair): boolean {
  return dst_host !== undefined && dst_host !== host;
}

/** The host that does the work. */
export function workingHost({ host, dst_host = host }: HostPair): string {
  return dst_host;
}

/** All hosts that a transfer touches. */
export function hostsOf({ host, dst_host = host }: HostPair): readonly string[] {
  return host === dst_host ? [host] : [host, dst_host];
}

/** What the destination's daemon is asked for. */
export function replicationOf(request: FleetTransferRequest) {
  const {
    host,
    device_name,
    dst_device_name = device_name,
    src_offset = 0,
    dst_offset = 0,
  } = request;
  const { size = 0, mode, block_size, bytes_per_second, priority, labels, timeout_ms } = request;
  return {
    ...{ peer: host, src_device_name: device_name, src_offset, dst_device_name, dst_offset, size },
    ...{ priority, labels },
    ...(mode !== undefined && { mode }),
    ...(block_size !== undefined && { block_size }),
    ...(bytes_per_second !== undefined && { bytes_per_second }),
    ...(timeout_ms !== undefined && { timeout_ms }),
  };
}

const hostWaitingFor = transferSchema.shape.waiting_for.unwrap();
const peerWaitingFor = replicationSchema.shape.waiting_for.unwrap();

const waitingForSchema = hostWaitingFor
  .extend({
    reason: z.enum(['host', 'dependencies', ...peerWaitingFor.shape.reason.options]).meta({
      description:
        'host: it is not with its host yet; dependencies: the transfers of depends_on; ' +
        "all others as the host's daemon has them.",
    }),
    since: peerWaitingFor.shape.since,
    why: z.string().optional().meta({
      description: 'With host: why the host does not have it; with peer: what went wrong.',
    }),
  })
  .meta({ id: 'FleetWaitingFor' });

/** What a replication's document has beside a transfer's. */
const replicationParts = replicationSchema
  .pick({
    ...{ mode: true, block_size: true, bytes_per_second: true, blocks: true },
    ...{ bytes_on_wire: true, round: true, consistency: true },
  })
  .partial();

export const fleetTransferSchema = transferSchema
  .extend({
    host: hostNameSchema,
    dst_host: hostNameSchema.optional().meta({
      description: 'Of a replication, which has `mode` and all that follows, too: where it goes.',
    }),
    status: z.enum(FLEET_STATUSES).meta({
      description:
        'accepted: the fleet has it, and its host not yet. All others: as the host says.',
    }),
    waiting_for: waitingForSchema.nullable(),
    engine: z
      .enum(ENGINE_NAMES)
      .nullable()
      .meta({ description: 'null: not chosen yet, or a replication, which has none.' }),
    stale: z.boolean().optional().meta({
      description: 'true: its host or etcd is away, and this is what the gateway knew last.',
    }),
    ...replicationParts.shape,
  })
  .meta({ id: 'FleetTransfer' });

export type FleetTransfer = z.output<typeof fleetTransferSchema>;

export const fleetDryRunSchema = dryRunSchema
  .extend({
    engine: z.enum(ENGINE_NAMES).nullable().meta({ description: 'null: a replication has none.' }),
  })
  .meta({ id: 'FleetDryRun', description: 'What a transfer would do.' });

const basicFleetTransferSchema = fleetTransferSchema
  .omit({ segments: true, timings: true })
  .meta({ id: 'BasicFleetTransfer' });

export const fleetTransferProblemSchema = problemSchema
  .extend({ transfer: fleetTransferSchema.optional() })
  .meta({ id: 'FleetTransferProblem' });

export const fleetFilterSchema = transferFilterSchema.extend({
  host: hostNameSchema.optional().meta({ description: 'As source or destination.' }),
  status: statusesOf(FLEET_STATUSES).optional(),
});

export type FleetFilter = z.output<typeof fleetFilterSchema>;

export const fleetEventsQuerySchema = fleetFilterSchema.extend({
  interval_ms: eventsQuerySchema.shape.interval_ms,
});

export type FleetEventsQuery = z.output<typeof fleetEventsQuerySchema>;

export const fleetListQuerySchema = fleetFilterSchema.extend(pageSchema.shape);

export type FleetListQuery = z.output<typeof fleetListQuerySchema>;

export const fleetTransferListSchema = z
  .object({
    transfers: z.array(z.union([fleetTransferSchema, basicFleetTransferSchema])),
    next_page_token: z.string().meta({
      description: 'Empty on the last page. A page may have fewer than page_size, and more follow.',
    }),
    stale: z.boolean().optional().meta({
      description: 'true: etcd is away; these are transfers that had not ended when it went.',
    }),
  })
  .meta({ id: 'FleetTransferList' });

/** How a transfer stands by what its host reported last: a replication's document as a transfer's. */
export type HostReport = Omit<FleetTransfer, 'host' | 'dst_host' | 'status' | 'stale'> & {
  status: Status;
};

/** Whether a status is an end. */
export function isEnd(status: FleetStatus): boolean {
  return (ENDS as readonly string[]).includes(status);
}
