// SPDX-License-Identifier: Apache-2.0

import type { SegmentList } from '../../base/segments.ts';
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
import { shownSegments } from './document.ts';
import { checkTotal, meaningOf, parentOf, type Side, sidesOf } from './request.ts';
import type { TransferRequest } from './request-schema.ts';
import type { TransferPlan } from './transfer.ts';

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
    const { hasSources } = segments;
    const index = segments.findIndex(
      (from, to, size) =>
        (hasSources && !passes(source, from, size)) || !passes(destination, to, size),
    );
    if (index < 0) return;
    const segment = segments.get(index);
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
  const bytes = checkTotal(segments.bytes);
  if (operation === 'copy' && source === destination)
    checkOverlap(segments, request.segments !== undefined);
  if (hasBadBlocks(source) || hasBadBlocks(destination)) checkEach(isSound, checkBadBlocks);
  checkOnline(source);
  checkOnline(destination);
  const { requestedEngine, verify } = meaning;
  const choice = chooser.choose({
    operation,
    requestedEngine,
    source,
    destination,
    segments,
    bytes,
    verify,
  });
  return Object.assign(meaning, { source, destination, bytes, choice });
}

/** What a dry run answers. */
export function describePlan(plan: TransferPlan) {
  return {
    dry_run: true as const,
    engine: plan.choice.engine,
    engine_reason: plan.choice.reason,
    segments: shownSegments(plan),
    bytes: plan.bytes,
  };
}

function checkOverlap(segments: SegmentList, segmented: boolean): void {
  const index = segments.findIndex((from, to, size) => Math.abs(from - to) < size);
  if (index < 0) return;
  const { src_offset, dst_offset, size } = segments.get(index);
  throw fieldProblem(
    'overlapping_ranges',
    segmented ? `/segments/${index}/dst_offset` : '/dst_offset',
    `Source and destination overlap: offsets ${src_offset} and ${dst_offset} are less than ${size} bytes apart on one device; move one of them, or name another dst_device_name.`,
  );
}
