// SPDX-License-Identifier: Apache-2.0

import { deviceNameOf } from '../../base/device-name.ts';
import type { Touches } from '../../http/access/authorize.ts';
import { fieldProblem } from '../../http/problems/problem.ts';
import {
  checkBadBlocks,
  checkBounds,
  checkOnline,
  type Device,
  hasBadBlocks,
  type Inventory,
  isInside,
  isSound,
  type RequestedRange,
} from '../devices/device.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { Segment } from '../engines/records.ts';
import type { Meaning } from './idempotency.ts';
import type { TransferRequest } from './schema.ts';
import { type TransferPlan, toldSegments } from './transfer.ts';

/** The bytes that a request names, before anybody has looked whether they are there. */
export function touchesOf(request: TransferRequest): Touches {
  const { device_name: source, dst_device_name: destination = source } = request;
  const segments = segmentsOf(request);
  const sides = sidesOf(request);
  return {
    length: sides.length * segments.length,
    at(index) {
      const segment = segments[Math.floor(index / sides.length)] as Segment;
      const side = sides[index % sides.length] as Side;
      const device = side === 'src_offset' ? source : destination;
      const write = side === 'dst_offset' && request.operation !== 'compare';
      return { device, offset: segment[side], size: segment.size, write };
    },
  };
}

type Side = 'src_offset' | 'dst_offset';

/** Which ranges of each segment there are: a fill has no source. */
function sidesOf({ operation }: Pick<TransferRequest, 'operation'>): readonly Side[] {
  return operation === 'fill' ? ['dst_offset'] : ['src_offset', 'dst_offset'];
}

/** JSON pointer to the field that says where one of {@link touchesOf} is. */
export function touchPointer(request: TransferRequest, index: number): string {
  const sides = sidesOf(request);
  return `${parentOf(request, Math.floor(index / sides.length))}/${sides[index % sides.length]}`;
}

/**
 * Checks a request against the devices and engines that are there.
 *
 * @throws Problem the first that applies of unknown_device, out_of_range, overlapping_ranges,
 *   bad_block, device_gone, engine_unavailable
 */
export function planTransfer(
  request: TransferRequest,
  inventory: Inventory,
  chooser: EngineChooser,
): TransferPlan {
  const source = inventory.named(request.device_name, '/device_name');
  const destination =
    request.dst_device_name === undefined
      ? source
      : inventory.named(request.dst_device_name, '/dst_device_name');
  const meaning = meaningOf(request);
  const { operation, segments } = meaning;
  const sides = sidesOf(request);

  /** Has a check refuse the first segment that does not pass. */
  const checkEach = (
    passes: (device: Device, offset: number, size: number) => boolean,
    check: (range: RequestedRange) => void,
  ) => {
    const deviceOf = (side: Side) => (side === 'src_offset' ? source : destination);
    const reads = sides.includes('src_offset');
    const index = segments.findIndex(
      ({ src_offset, dst_offset, size }) =>
        (reads && !passes(source, src_offset, size)) || !passes(destination, dst_offset, size),
    );
    const segment = segments[index];
    if (segment === undefined) return;
    const parent = parentOf(request, index);
    for (const side of sides) {
      check({
        device: deviceOf(side),
        offset: segment[side],
        size: segment.size,
        offsetPointer: `${parent}/${side}`,
        sizePointer: `${parent}/size`,
      });
    }
  };

  checkEach(isInside, checkBounds);
  const bytes = segments.reduce((sum, { size }) => sum + size, 0);
  if (!Number.isSafeInteger(bytes)) {
    throw fieldProblem(
      'out_of_range',
      '/segments',
      'The segments add up to more than 2^53-1 bytes.',
    );
  }
  if (operation === 'copy' && source === destination)
    checkOverlap(segments, request.segments !== undefined);
  if (hasBadBlocks(source) || hasBadBlocks(destination)) checkEach(isSound, checkBadBlocks);
  checkOnline(source);
  checkOnline(destination);
  const { requestedEngine, verify } = meaning;
  const choice = chooser.choose({
    ...{ operation, source, destination, segments, bytes, requestedEngine, verify },
  });
  return {
    operation,
    pattern: meaning.pattern,
    source,
    destination,
    segments,
    segmented: meaning.segmented,
    bytes,
    requestedEngine,
    choice,
    priority: meaning.priority,
    flush: meaning.flush,
    verify,
    timeoutMs: meaning.timeoutMs,
    labels: meaning.labels,
    dependsOn: meaning.dependsOn,
  };
}

/** What a request means, whether or not it can be done now. */
export function meaningOf(request: TransferRequest): Meaning {
  const { device_name: source, dst_device_name: destination = source } = request;
  const { operation } = request;
  return {
    operation,
    pattern: operation === 'fill' ? (request.pattern ?? '00').toLowerCase() : undefined,
    source: { name: deviceNameOf(source) },
    destination: { name: deviceNameOf(destination) },
    segments: segmentsOf(request),
    segmented: request.segments !== undefined,
    requestedEngine: request.engine,
    priority: request.priority,
    flush: operation !== 'compare' && request.durability !== 'none',
    verify: request.verify === 'crc32c',
    timeoutMs: request.timeout_ms,
    labels: request.labels,
    dependsOn: [...new Set(request.depends_on)],
  };
}

/** What a dry run answers. */
export function describePlan(plan: TransferPlan) {
  return {
    dry_run: true as const,
    engine: plan.choice.engine,
    engine_reason: plan.choice.reason,
    segments: toldSegments(plan),
    bytes: plan.bytes,
  };
}

/** Its segments; a fill's begin at 0 of what it does not read. */
function segmentsOf({
  operation,
  segments,
  src_offset = 0,
  dst_offset = 0,
  size = 0,
}: TransferRequest): readonly Segment[] {
  // The schema has made sure that all are there that the operation needs.
  if (segments === undefined) return [{ src_offset, dst_offset, size }];
  if (operation !== 'fill') return segments as readonly Segment[];
  return segments.map((segment) => ({ ...segment, src_offset: 0 }));
}

/** JSON pointer to where a segment's fields are. */
function parentOf({ segments }: TransferRequest, index: number): string {
  return segments === undefined ? '' : `/segments/${index}`;
}

function checkOverlap(segments: readonly Segment[], segmented: boolean): void {
  const index = segments.findIndex(
    ({ src_offset, dst_offset, size }) => Math.abs(src_offset - dst_offset) < size,
  );
  const overlapping = segments[index];
  if (overlapping === undefined) return;
  const { src_offset, dst_offset, size } = overlapping;
  throw fieldProblem(
    'overlapping_ranges',
    segmented ? `/segments/${index}/dst_offset` : '/dst_offset',
    `Source and destination overlap: offsets ${src_offset} and ${dst_offset} are less than ${size} bytes apart on one device; move one of them, or name another dst_device_name.`,
  );
}
