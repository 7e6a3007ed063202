// SPDX-License-Identifier: Apache-2.0
import type { Touches } from '../access/authorize.ts';
import { deviceNameOf } from '../devices/choice.ts';
import {
  checkBadBlocks,
  checkBounds,
  checkOnline,
  type Device,
  type Inventory,
  isInside,
  isSound,
  type RequestedRange,
} from '../devices/device.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { Segment } from '../engines/records.ts';
import { fieldProblem } from '../problems/problem.ts';
import type { Meaning } from './idempotency.ts';
import type { TransferRequest } from './schema.ts';
import type { TransferPlan } from './transfer.ts';

/** The bytes that a request names, before anybody has looked whether they are there. */
export function touchesOf(request: TransferRequest): Touches {
  const { device_name: source, dst_device_name: destination = source } = request;
  const segments = segmentsOf(request);
  return {
    length: 2 * segments.length,
    at(index) {
      const { src_offset, dst_offset, size } = segments[Math.floor(index / 2)] as Segment;
      return index % 2 === 0
        ? { device: source, offset: src_offset, size, write: false }
        : { device: destination, offset: dst_offset, size, write: true };
    },
  };
}

/** JSON pointer to the field that says where one of {@link touchesOf} is. */
export function touchPointer(request: TransferRequest, index: number): string {
  const field = index % 2 === 0 ? 'src_offset' : 'dst_offset';
  return `${parentOf(request, Math.floor(index / 2))}/${field}`;
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
  const { segments } = meaning;

  /** Has a check refuse the first segment that does not pass. */
  const checkEach = (
    passes: (device: Device, offset: number, size: number) => boolean,
    check: (range: RequestedRange) => void,
  ) => {
    const index = segments.findIndex(
      ({ src_offset, dst_offset, size }) =>
        !passes(source, src_offset, size) || !passes(destination, dst_offset, size),
    );
    const segment = segments[index];
    if (segment === undefined) return;
    rangesOf(segment, parentOf(request, index), source, destination).forEach(check);
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
  if (source === destination) checkOverlap(segments, request.segments !== undefined);
  checkEach(isSound, checkBadBlocks);
  checkOnline(source);
  checkOnline(destination);
  const { requestedEngine, verify } = meaning;
  const choice = chooser.choose({ source, destination, segments, bytes, requestedEngine, verify });
  return {
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
  };
}

/** What a request means, whether or not it can be done now. */
export function meaningOf(request: TransferRequest): Meaning {
  const { device_name: source, dst_device_name: destination = source } = request;
  return {
    source: { name: deviceNameOf(source) },
    destination: { name: deviceNameOf(destination) },
    segments: segmentsOf(request),
    segmented: request.segments !== undefined,
    requestedEngine: request.engine,
    priority: request.priority,
    flush: request.durability === 'flush',
    verify: request.verify === 'crc32c',
    timeoutMs: request.timeout_ms,
    labels: request.labels,
  };
}

function segmentsOf({ segments, src_offset = 0, dst_offset = 0, size = 0 }: TransferRequest) {
  // The schema has made sure that all three are there where there are no segments.
  return segments ?? [{ src_offset, dst_offset, size }];
}

/** JSON pointer to where a segment's fields are. */
function parentOf({ segments }: TransferRequest, index: number): string {
  return segments === undefined ? '' : `/segments/${index}`;
}

function rangesOf(
  { src_offset, dst_offset, size }: Segment,
  parent: string,
  source: Device,
  destination: Device,
): RequestedRange[] {
  const sizePointer = `${parent}/size`;
  return [
    {
      device: source,
      offset: src_offset,
      size,
      offsetPointer: `${parent}/src_offset`,
      sizePointer,
    },
    {
      device: destination,
      offset: dst_offset,
      size,
      offsetPointer: `${parent}/dst_offset`,
      sizePointer,
    },
  ];
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
