// SPDX-License-Identifier: Apache-2.0
import { deviceNameOf } from '../../base/device-name.ts';
import { type CallOptions, type DmadClient, DmadError } from '../../client/node.ts';
import { transferOf } from '../hosts/replication-report.ts';
import type { RunningRecord } from './record.ts';
import { endedOf, isRefusal } from './refusal.ts';
import {
  type FleetTransferPatch,
  type FleetTransferRequest,
  type HostReport,
  isReplication,
  replicationOf,
} from './schema.ts';

/** A transfer that a host has, under its own id. */
export interface AtHost {
  record: RunningRecord;
  hostId: string;
}

/**
 * Hands a host one transfer. However often that is done, it runs once, for the fleet's id is its key.
 *
 * @returns how it stands, also if it has ended without success
 * @throws DmadError if the host does not take it
 */
export async function createAtHost(
  client: DmadClient,
  record: RunningRecord,
  options: CallOptions,
): Promise<HostReport> {
  const call = { ...options, waitSeconds: 0, idempotencyKey: record.id };
  const { request } = record;
  try {
    if (!isReplication(request))
      return (await client.createTransfer(bodyOf(request), call)) as HostReport;
    return transferOf(await client.createReplication(replicationOf(request), call));
  } catch (error) {
    // It is an earlier one's, which has ended.
    const ended = error instanceof DmadError ? endedOf(error) : undefined;
    if (ended !== undefined) return ended;
    throw error;
  }
}

/** Hands a host several at once, none of which is a replication: it takes all or none. */
export async function createAllAtHost(
  client: DmadClient,
  records: readonly RunningRecord[],
  options: CallOptions,
): Promise<HostReport[]> {
  const requests = records.map((record) => ({
    ...bodyOf(record.request),
    idempotency_key: record.id,
  }));
  return (await client.createTransfers(requests, options)) as HostReport[];
}

/**
 * Sees to it that a host never runs a transfer that it may have been handed, if it does not have it yet:
 * a request that is still on its way might come later. A comparison that moves nothing uses its key up,
 * so that the host refuses what comes with it after that.
 *
 * @returns whether it does not have it, and never will; always false for a replication, which has no
 *   such harmless request
 * @throws DmadError if the host does not say
 */
export async function withdrawAtHost(
  client: DmadClient,
  record: RunningRecord,
  options: CallOptions,
): Promise<boolean> {
  const { request, id } = record;
  if (isReplication(request)) return false;
  const [first = request] = request.segments ?? [];
  const offset = first.src_offset ?? first.dst_offset ?? 0;
  const comparison = {
    ...{ operation: 'compare' as const, device_name: pathOf(request.device_name) },
    ...{ src_offset: offset, dst_offset: offset, size: 1, labels: { withdrawn: id } },
  };
  try {
    await client.createTransfer(comparison, { ...options, waitSeconds: 0, idempotencyKey: id });
    return true;
  } catch (error) {
    if (error instanceof DmadError && endedOf(error) !== undefined) return true;
    // The key is the transfer's already; or the host takes neither.
    if (isRefusal(error)) return false;
    throw error;
  }
}

export async function readAtHost(
  client: DmadClient,
  { record, hostId }: AtHost,
  options: CallOptions,
): Promise<HostReport> {
  if (!isReplication(record.request))
    return (await client.getTransfer(hostId, options)) as HostReport;
  return transferOf(await client.getReplication(hostId, options));
}

export async function cancelAtHost(
  client: DmadClient,
  { record, hostId }: AtHost,
  options: CallOptions,
): Promise<HostReport> {
  if (!isReplication(record.request))
    return (await client.cancelTransfer(hostId, options)) as HostReport;
  return transferOf(await client.cancelReplication(hostId, options));
}

export async function changeAtHost(
  client: DmadClient,
  { record, hostId }: AtHost,
  patch: FleetTransferPatch,
  options: CallOptions,
): Promise<HostReport> {
  const { bytes_per_second, ...others } = patch;
  if (!isReplication(record.request)) {
    return (await client.changeTransfer(hostId, others, options)) as HostReport;
  }
  return transferOf(await client.changeReplication(hostId, patch, options));
}

/** What the host is asked to do: the same however often it is sent. */
export function bodyOf(request: FleetTransferRequest) {
  const {
    host: _,
    dst_host: _other,
    depends_on: _dependencies,
    dry_run: _dryRun,
    dst_device_name: destination,
    ...body
  } = request;
  return {
    ...{ ...body, device_name: pathOf(request.device_name) },
    ...(destination !== undefined && { dst_device_name: pathOf(destination) }),
  };
}

/** To the client a name such as "a/b" is that of device b on host a of a fleet; a path is none. */
function pathOf(deviceName: string): string {
  return `/dev/${deviceNameOf(deviceName)}`;
}
