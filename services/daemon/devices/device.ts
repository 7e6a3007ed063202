// SPDX-License-Identifier: Apache-2.0

import type { ByteRange } from '../../base/byte-range.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import type { DeviceState, FlushBasis, Persistence } from '../../base/vocabulary.ts';
import { fieldProblem, Problem, retryLater } from '../../http/problems/problem.ts';
import type { DeviceKind } from '../engines/records.ts';

/** A device that the daemon manages. */
export interface Device {
  name: string;
  path: string;
  kind: DeviceKind;
  /** Which bytes it has, whatever its name: kept in the journal; see devices/identity.ts. */
  identity: string;
  /** Of a device-dax device: of its namespace or region; null if it has none. */
  uuid: string | null;
  /** Of a device-dax device: its physical address; null if it is not known. */
  resource: number | null;
  /** Bytes. */
  size: number;
  align: number;
  numaNode: number | null;
  persistenceDomain: Persistence;
  /** As the kernel last told of them. */
  badBlocks: ByteRange[];
  /** Once it is gone it stays so: should the device come back, that is another one of the name. */
  state: DeviceState;
  /** Why it counts as gone; null while it is online. */
  stateReason: string | null;
  /** Changes when another device takes its name; see devices/watch.ts. */
  instance: number;
  /** The engine's name for it, which is never given to another. */
  handle: number;
  /** How it is made persistent; `none` if it cannot be, or if that is not known. */
  flushBasis: FlushBasis;
}

/** The managed devices by name. */
export class Inventory {
  readonly #devices: Map<string, Device>;
  /** Why devices that there are, or that are to come, are not managed; by name. */
  readonly #missing = new Map<string, string>();

  constructor(devices: readonly Device[]) {
    this.#devices = new Map(devices.map((device) => [device.name, device]));
  }

  /** Devices that are not managed though they should be, and why. */
  get missing(): ReadonlyMap<string, string> {
    return this.#missing;
  }

  /** Notes that a device should be managed and is not; until it is put. */
  miss(name: string, reason: string): void {
    this.#missing.set(name, reason);
  }

  list(): Device[] {
    return [...this.#devices.values()];
  }

  /** Adds a device, in the place of the one that had its name. */
  put(device: Device): void {
    this.#devices.set(device.name, device);
    this.#missing.delete(device.name);
  }

  /** @param nameOrPath `dax0.0` or `/dev/dax0.0` */
  find(nameOrPath: string): Device | undefined {
    return this.#devices.get(deviceNameOf(nameOrPath));
  }

  /**
   * @param pointer the field of the request's body that names the device
   * @throws Problem unknown_device, or device_gone for one that is yet to come
   */
  named(nameOrPath: string, pointer: string): Device {
    const device = this.find(nameOrPath);
    if (device === undefined) {
      const name = deviceNameOf(nameOrPath);
      const reason = this.#missing.get(name);
      if (reason !== undefined) {
        throw retryLater('device_gone', `${name} is not there yet: ${reason}.`, 30);
      }
      const detail = 'No managed device has that name; GET /devices lists them.';
      throw fieldProblem('unknown_device', pointer, detail);
    }
    return device;
  }

  /** @throws Problem not_found, for a device named in a path */
  get(nameOrPath: string): Device {
    const device = this.find(nameOrPath);
    if (device === undefined) {
      throw new Problem('not_found', 'No managed device has that name; GET /devices lists them.');
    }
    return device;
  }
}

/** Whether the CPU makes it persistent by writing its caches back, which is cheap beside a sync. */
export function flushedByCpu({ flushBasis }: Device): boolean {
  return flushBasis !== 'none' && flushBasis !== 'msync';
}

/** What is wrong with using a device that is not there any more; undefined while it is. */
export function goneProblem({ name, state, stateReason }: Device): Problem | undefined {
  return state === 'online' ? undefined : deviceGone(name, stateReason);
}

/** The problem of a device that has gone, for whatever reason. */
export function deviceGone(name: string, reason: string | null): Problem {
  const detail = `${name} has gone (${reason}): bring it back, or name another device.`;
  return retryLater('device_gone', detail, 30);
}

/** @throws Problem device_gone if the device is not there any more */
export function checkOnline(device: Device): void {
  const problem = goneProblem(device);
  if (problem !== undefined) throw problem;
}

/** A range in a request, and the fields that said so. */
export interface RequestedRange extends ByteRange {
  device: Device;
  /** JSON pointers to the offset and the size, for errors. */
  offsetPointer: string;
  sizePointer: string;
}

/** Whether a device has all bytes of a range. */
export function isInside(device: Device, offset: number, size: number): boolean {
  // Subtracting cannot overflow, adding could.
  return offset < device.size && size <= device.size - offset;
}

/** @throws Problem out_of_range if the range ends, or begins, past the device's end */
export function checkBounds(range: RequestedRange): void {
  const { device, offset, size } = range;
  if (isInside(device, offset, size)) return;
  const beginsOutside = offset >= device.size;
  const detail = beginsOutside
    ? `${device.name} has ${device.size} bytes: offset ${offset} lies past its end.`
    : `${device.name} has ${device.size} bytes: from offset ${offset} at most ${device.size - offset} fit, not ${size}.`;
  throw fieldProblem(
    'out_of_range',
    beginsOutside ? range.offsetPointer : range.sizePointer,
    detail,
  );
}

/** The first bad block that is known in a range. */
function badBlockIn({ badBlocks }: Device, offset: number, size: number): ByteRange | undefined {
  // Nearly every device has none.
  if (badBlocks.length === 0) return undefined;
  return badBlocks.find(
    (block) => block.offset < offset + size && offset < block.offset + block.size,
  );
}

/** Whether any bad block is known of a device. */
export function hasBadBlocks({ badBlocks }: Device): boolean {
  return badBlocks.length > 0;
}

/** Whether no bad block is known in a range. */
export function isSound(device: Device, offset: number, size: number): boolean {
  return badBlockIn(device, offset, size) === undefined;
}

/** @throws Problem bad_block if the range touches one that is known */
export function checkBadBlocks(range: RequestedRange): void {
  const { device, offset, size } = range;
  const bad = badBlockIn(device, offset, size);
  if (bad === undefined) return;
  throw fieldProblem(
    'bad_block',
    range.offsetPointer,
    `${device.name} has a bad block at offset ${bad.offset}, ${bad.size} bytes long: leave it out.`,
  );
}
