// SPDX-License-Identifier: Apache-2.0

import { lstatSync, realpathSync } from 'node:fs';
import { v7 as uuidv7 } from 'uuid';
import { type Segment, SegmentList } from '../../../services/base/segments.ts';
import type { Device } from '../../../services/daemon/devices/device.ts';
import { type Completion, NO_DMA } from '../../../services/daemon/engines/records.ts';
import { ElapsedClock } from '../../../services/daemon/journal/elapsed.ts';
import { WorkQueue } from '../../../services/daemon/order/work-queue.ts';
import type { Created } from '../../../services/daemon/transfers/acceptance.ts';
import type { TransferService } from '../../../services/daemon/transfers/service.ts';
import {
  type Acceptance,
  type Origin,
  Transfer,
  type TransferPlan,
} from '../../../services/daemon/transfers/transfer.ts';
import type { Scope } from '../../../services/http/access/scopes.ts';
import type { Viewer } from '../../../services/http/access/visibility.ts';

/** Of tests that need no other one. */
export const CLOCK = new ElapsedClock();

/** A file that stays where it is, for devices that nobody opens. */
const FILE = realpathSync(process.execPath);
const FILE_INODE = lstatSync(FILE).ino;

export function makeDevice(members: Partial<Device> = {}): Device {
  const name = members.name ?? 'dax0.0';
  return {
    name,
    path: FILE,
    kind: 'emulated',
    identity: 'some file',
    uuid: null,
    resource: null,
    size: 2 ** 20,
    align: 4096,
    numaNode: null,
    persistenceDomain: 'backing_store',
    badBlocks: [],
    state: 'online',
    stateReason: null,
    instance: FILE_INODE,
    handle: 0,
    flushBasis: 'msync',
    ...members,
  };
}

/** A plan's members, with its segments as a list or one by one. */
export type PlanMembers = Partial<Omit<TransferPlan, 'segments'>> & {
  segments?: SegmentList | readonly Segment[];
};

export function makePlan(members: PlanMembers = {}): TransferPlan {
  const source = members.source ?? makeDevice();
  const given = members.segments ?? [{ src_offset: 0, dst_offset: 4096, size: 4096 }];
  const segments =
    given instanceof SegmentList ? given : SegmentList.from(given, members.operation !== 'fill');
  return {
    operation: 'copy',
    pattern: undefined,
    source,
    destination: source,
    segmented: false,
    bytes: segments.bytes,
    requestedEngine: 'auto',
    choice: { engine: 'cpu', reason: 'there is no other', cpuBytes: 0 },
    priority: 'normal',
    flush: true,
    verify: false,
    timeoutMs: undefined,
    labels: {},
    dependsOn: [],
    ...members,
    segments,
  };
}

/** Has a service accept a transfer. */
export async function createOne(
  service: TransferService,
  plan: TransferPlan,
  origin: Origin,
  journaled = false,
): Promise<Transfer> {
  const [created] = await service.create(
    [{ request: plan, origin, makePlan: () => plan }],
    journaled,
  );
  return (created as Created).transfer;
}

export function makeOrigin(key?: string, client = 'anna'): Origin {
  return { requestId: 'some-request', client, key, trace: undefined };
}

export function makeTransfer(members: PlanMembers = {}, id = uuidv7()): Transfer {
  return new Transfer(id, makePlan(members), makeOrigin(), CLOCK);
}

/** When it was that long ago. */
export function acceptedAgo(ms: number, clock = CLOCK): Acceptance {
  return { elapsedMs: clock.now() - ms, wallMs: Date.now() - ms };
}

/** A queue for clients without limits. */
export function makeQueue(): WorkQueue {
  return new WorkQueue({ limitsOf: () => ({}), overloaded: () => false });
}

/** How a job ended. */
export function completion(members: Partial<Completion> = {}): Completion {
  return {
    tag: 1,
    done: true,
    status: 0,
    bytesDone: 4096,
    startedNs: Number(process.hrtime.bigint()),
    finishedNs: Number(process.hrtime.bigint()),
    copyNs: 1000,
    flushNs: 0,
    verifyNs: 0,
    segment: 0,
    sourceCrc: 0,
    destinationCrc: 0,
    difference: undefined,
    received: 0,
    dma: NO_DMA,
    ...members,
  };
}

/** A client that sees its own transfers only; with `transfers:all`, everybody's. */
export function viewer(name: string, ...scopes: Scope[]): Viewer {
  return { name, scopes: new Set(scopes) };
}
