// SPDX-License-Identifier: Apache-2.0
import type { z } from 'zod';
import { deviceNameOf } from '../../base/device-name.ts';
import { DmadError } from '../../client/node.ts';
import { fieldProblem, type Problem, retryLater } from '../../http/problems/problem.ts';
import type { Fleet } from '../hosts/fleet.ts';
import type { HostLink } from '../hosts/host-link.ts';
import { REPLICATED } from '../hosts/replication-report.ts';
import { bodyOf } from './at-host.ts';
import { describeRefusal, isRefusal, refusalOf } from './refusal.ts';
import {
  type FleetTransferRequest,
  type fleetDryRunSchema,
  isReplication,
  replicationOf,
} from './schema.ts';

const ASK_MS = 10_000;

type Plan = z.output<typeof fleetDryRunSchema>;

/** What would be done. @throws Problem the host's; host_unreachable */
export async function planOf(fleet: Fleet, request: FleetTransferRequest): Promise<Plan> {
  if (isReplication(request)) return planBetween(fleet, request);
  const { host } = request;
  try {
    const options = { deadlineMs: ASK_MS, retryForMs: 0 };
    const link = await linkOf(fleet, host);
    link.checkReachable();
    return await link.client.planTransfer(bodyOf(request), options);
  } catch (error) {
    if (isRefusal(error)) throw refusalOf(error);
    if (!(error instanceof DmadError)) throw error;
    throw retryLater(
      'host_unreachable',
      `Host ${host} gives no plan: ${describeRefusal(error)}`,
      2,
    );
  }
}

/** Of a replication a host tells nothing beforehand: its ranges are held against the devices as seen last. */
async function planBetween(fleet: Fleet, request: FleetTransferRequest): Promise<Plan> {
  const { host, dst_host = host } = request;
  const { src_device_name, src_offset, dst_device_name, dst_offset, size } = replicationOf(request);
  const [source, destination] = [await linkOf(fleet, host), await linkOf(fleet, dst_host)];
  await checkRange(source, src_device_name, { offset: src_offset, size }, 'src_offset');
  await checkRange(destination, dst_device_name, { offset: dst_offset, size }, 'dst_offset');
  return {
    ...{ dry_run: true, engine: null, engine_reason: REPLICATED, bytes: size },
    segments: [{ src_offset, dst_offset, size }],
  };
}

/** @throws Problem host_unreachable */
async function linkOf(fleet: Fleet, host: string): Promise<HostLink> {
  const link = fleet.link(host);
  if (link !== undefined && link.seen === undefined) await link.refresh();
  if (link?.seen !== undefined) return link;
  throw retryLater('host_unreachable', `Host ${host} is not connected yet.`, 1);
}

/** @throws Problem unknown_device, out_of_range */
async function checkRange(
  link: HostLink,
  deviceName: string,
  { offset, size }: { offset: number; size: number },
  field: 'src_offset' | 'dst_offset',
): Promise<void> {
  const { name: host } = link;
  const name = deviceNameOf(deviceName);
  const device = await link.device(name);
  if (device === undefined) throw unknownDevice(host, name, field);
  if (offset < device.size && size <= device.size - offset) return;
  const detail = `${host}/${name} has ${device.size} bytes: ${size} from offset ${offset} on do not fit.`;
  throw fieldProblem('out_of_range', offset < device.size ? '/size' : `/${field}`, detail);
}

function unknownDevice(host: string, name: string, field: 'src_offset' | 'dst_offset'): Problem {
  const pointer = field === 'src_offset' ? '/device_name' : '/dst_device_name';
  const detail = `Host ${host} has no device ${JSON.stringify(name)}; GET /devices lists them.`;
  return fieldProblem('unknown_device', pointer, detail);
}
