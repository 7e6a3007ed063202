// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { hostNameSchema } from '../../base/host-name.ts';
import { ENGINE_NAMES } from '../../base/vocabulary.ts';
import {
  ENDS,
  pageSchema,
  STATUSES,
  statusesOf,
  transferFilterSchema,
  transferRequestSchema,
  transferSchema,
} from '../../daemon/transfers/schema.ts';
import { problemSchema } from '../../http/problems/schema.ts';

/** accepted: in etcd, and not yet with its host. */
export const FLEET_STATUSES = ['accepted', ...STATUSES] as const;
export type FleetStatus = (typeof FLEET_STATUSES)[number];

export const fleetTransferRequestSchema = transferRequestSchema
  .safeExtend({
    host: hostNameSchema.meta({ description: 'The host that has the devices.' }),
  })
  .meta({ id: 'FleetTransferRequest' });

export type FleetTransferRequest = z.output<typeof fleetTransferRequestSchema>;

const hostWaitingFor = transferSchema.shape.waiting_for.unwrap();

const waitingForSchema = hostWaitingFor
  .extend({
    reason: z.enum(['host', 'dependencies', ...hostWaitingFor.shape.reason.options]).meta({
      description:
        'host: it is not with its host yet; dependencies: the transfers of depends_on; ' +
        "all others as the host's daemon has them.",
    }),
    why: z.string().optional().meta({ description: 'With host: why the host does not have it.' }),
  })
  .meta({ id: 'FleetWaitingFor' });

export const fleetTransferSchema = transferSchema
  .extend({
    host: hostNameSchema,
    status: z.enum(FLEET_STATUSES).meta({
      description:
        'accepted: the fleet has it, and its host not yet. All others: as the host says.',
    }),
    waiting_for: waitingForSchema.nullable(),
    engine: z.enum(ENGINE_NAMES).nullable().meta({ description: 'null: not chosen yet.' }),
    stale: z.boolean().optional().meta({
      description: 'true: its host or etcd is away, and this is what the gateway knew last.',
    }),
  })
  .meta({ id: 'FleetTransfer' });

export type FleetTransfer = z.output<typeof fleetTransferSchema>;

const basicFleetTransferSchema = fleetTransferSchema
  .omit({ segments: true, timings: true })
  .meta({ id: 'BasicFleetTransfer' });

export const fleetTransferProblemSchema = problemSchema
  .extend({ transfer: fleetTransferSchema.optional() })
  .meta({ id: 'FleetTransferProblem' });

export const fleetFilterSchema = transferFilterSchema.extend({
  host: hostNameSchema.optional(),
  status: statusesOf(FLEET_STATUSES).optional(),
});

export type FleetFilter = z.output<typeof fleetFilterSchema>;

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

/** Whether a status is an end. */
export function isEnd(status: FleetStatus): boolean {
  return (ENDS as readonly string[]).includes(status);
}
