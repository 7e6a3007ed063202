// SPDX-License-Identifier: Apache-2.0
import { deviceNameOf } from '../../base/device-name.ts';
import { SegmentList } from '../../base/segments.ts';
import type { Operation, Priority } from '../../base/vocabulary.ts';
import type { Touches } from '../../http/access/authorize.ts';
import { fieldProblem } from '../../http/problems/problem.ts';
import type { TransferRequest } from './request-schema.ts';

/** What a request means: the part of its plan that does not depend on what the host has now. */
export interface Meaning {
  operation: Operation;
  /** What a fill writes, in hex digits. */
  pattern: string | undefined;
  /** Of a fill the destination, too. */
  source: { name: string };
  destination: { name: string };
  segments: SegmentList;
  /** Whether the client gave segments, and shall see them again. */
  segmented: boolean;
  requestedEngine: TransferRequest['engine'];
  priority: Priority;
  flush: boolean;
  verify: boolean;
  /** From acceptance. */
  timeoutMs: number | undefined;
  labels: Readonly<Record<string, string>>;
  /** Ids of transfers that have to succeed before. */
  dependsOn: readonly string[];
}

/** The bytes that a request names, before anybody has looked whether they are there. */
export function touchesOf(request: TransferRequest): Touches {
  const { device_name: source, dst_device_name: destination = source } = request;
  const segments = segmentsOf(request);
  const sides = sidesOf(request);
  return {
    length: sides.length * segments.length,
    at(index) {
      const segment = segments.get(Math.floor(index / sides.length));
      const side = sides[index % sides.length] as Side;
      const device = side === 'src_offset' ? source : destination;
      const write = side === 'dst_offset' && request.operation !== 'compare';
      return { device, offset: segment[side], size: segment.size, write };
    },
  };
}

export type Side = 'src_offset' | 'dst_offset';

/** Which ranges of each segment there are: a fill has no source. */
export function sidesOf({ operation }: Pick<TransferRequest, 'operation'>): readonly Side[] {
  return operation === 'fill' ? ['dst_offset'] : ['src_offset', 'dst_offset'];
}

/** JSON pointer to the field that says where one of {@link touchesOf} is. */
export function touchPointer(request: TransferRequest, index: number): string {
  const sides = sidesOf(request);
  return `${parentOf(request, Math.floor(index / sides.length))}/${sides[index % sides.length]}`;
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

/** Its segments; a fill's read nothing. */
function segmentsOf({
  operation,
  segments,
  src_offset = 0,
  dst_offset = 0,
  size = 0,
}: TransferRequest): SegmentList {
  if (segments instanceof SegmentList) return segments;
  // The schema has made sure that all are there that the operation needs.
  return SegmentList.from(segments ?? [{ src_offset, dst_offset, size }], operation !== 'fill');
}

/** JSON pointer to where a segment's fields are. */
export function parentOf({ segments }: TransferRequest, index: number): string {
  return segments === undefined ? '' : `/segments/${index}`;
}

/** @param bytes of all segments together. @throws Problem out_of_range if no JSON integer says so */
export function checkTotal(bytes: number): number {
  if (Number.isSafeInteger(bytes)) return bytes;
  throw fieldProblem('out_of_range', '/segments', 'The segments add up to more than 2^53-1 bytes.');
}
