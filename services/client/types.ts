// SPDX-License-Identifier: Apache-2.0
// The nouns of the HTTP interface, inferred from the schemas that the daemon validates by. Types
// only: nothing of the daemon, nor zod, comes along at run time.
import type { z } from 'zod';
import type * as calibration from '../daemon/calibration/routes.ts';
import type * as devices from '../daemon/devices/schema.ts';
import type * as digests from '../daemon/digests/schema.ts';
import type * as engines from '../daemon/engines/schema.ts';
import type * as faults from '../daemon/faults/routes.ts';
import type * as health from '../daemon/health/routes.ts';
import type * as replications from '../daemon/replication/schema.ts';
import type * as lists from '../daemon/transfers/list-schema.ts';
import type * as requests from '../daemon/transfers/request-schema.ts';
import type * as transfers from '../daemon/transfers/schema.ts';
import type * as fleet from '../fleet/hosts/schema.ts';
import type * as fleetTransfers from '../fleet/transfers/schema.ts';
import type * as whoami from '../http/access/whoami.ts';
import type * as root from '../http/dashboard/root.ts';
import type * as problems from '../http/problems/routes.ts';
import type * as problem from '../http/problems/schema.ts';

/** What POST /transfers takes. Offsets and sizes are bytes, or strings such as "32MiB". */
export type TransferRequest = Omit<z.input<typeof requests.transferRequestSchema>, 'dry_run'> &
  Partial<Pick<z.input<typeof fleetTransfers.fleetTransferRequestSchema>, FleetRequestFields>>;
/** What a fleet takes beside; the client finds hosts in names of devices such as hosta/dax0.0. */
type FleetRequestFields = 'host' | 'dst_host' | 'mode' | 'block_size' | 'bytes_per_second';
/** One of POST /transfers/batch. */
export type BatchedTransferRequest = TransferRequest & { idempotency_key?: string };
/** `bytes_per_second` is for transfers between hosts of a fleet. */
export type TransferPatch = z.input<typeof requests.transferPatchSchema> &
  Pick<z.input<typeof fleetTransfers.fleetTransferPatchSchema>, 'bytes_per_second'>;
/** With what a fleet's has beside a daemon's. */
export type Transfer = z.output<typeof transfers.transferSchema> & FleetParts;
type FleetParts = Partial<
  Pick<
    z.output<typeof fleetTransfers.fleetTransferSchema>,
    'host' | 'dst_host' | 'stale' | 'blocks' | 'bytes_on_wire' | 'consistency'
  >
>;
export type TransferStatus = Transfer['status'];
export type DryRun = z.output<typeof transfers.dryRunSchema>;
export type TransferList = z.output<typeof lists.transferListSchema> & {
  transfers: FleetParts[];
};
export type TransferFilter = z.input<typeof lists.transferFilterSchema>;
export type EventsQuery = z.input<typeof lists.eventsQuerySchema>;
export type TransferListQuery = z.input<typeof lists.transferListQuerySchema>;
export type ReplicationRequest = z.input<typeof replications.replicationRequestSchema>;
export type ReplicationPatch = z.input<typeof replications.replicationPatchSchema>;
export type Replication = z.output<typeof replications.replicationSchema>;
export type ReplicationList = z.output<typeof replications.replicationListSchema>;
export type ReplicationListQuery = z.input<typeof replications.replicationListQuerySchema>;
export type Problem = z.output<typeof problem.problemSchema>;
export type ProblemCode = Problem['code'];
export type ProblemExplanation = z.output<typeof problems.explanationSchema>;
export type Device = z.output<typeof devices.deviceSchema>;
export type Stream = z.output<typeof devices.streamSchema>;
export type StreamList = z.output<typeof devices.streamListSchema>;
export type UploadResult = z.output<typeof devices.uploadResultSchema>;
export type Checksum = z.output<typeof devices.checksumSchema>;
export type Digests = z.output<typeof digests.digestPageSchema>;
export type Engines = z.output<typeof engines.enginesSchema>;
export type CalibrationRequest = z.input<typeof calibration.calibrateSchema>;
export type FaultRequest = z.input<typeof faults.faultRequestSchema>;
export type Fault = z.output<typeof faults.faultSchema>;
export type Readiness = z.output<typeof health.readySchema>;
export type Version = z.output<typeof health.versionSchema>;
export type Root = z.output<typeof root.rootSchema>;

export type FleetHost = z.output<typeof fleet.hostSchema>;
export type FleetTransfer = z.output<typeof fleetTransfers.fleetTransferSchema>;
export type FleetHostRequest = z.input<typeof fleet.hostRequestSchema>;

export type Whoami = z.output<typeof whoami.whoamiSchema>;

/** Bytes of a device. */
export interface Range {
  offset: number;
  size: number;
}
