// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { ByteRange } from '../../base/byte-range.ts';
import { StartError } from '../../base/start-error.ts';
import type { Engine } from '../engines/engine.ts';
import type { DeviceChoice } from './choice.ts';
import type { Device, Inventory } from './device.ts';
import { fileAt, whyNotFile } from './emulated.ts';
import { openDevdax, openEmulated, whyUnusable } from './open.ts';
import type { SeenDevices } from './seen.ts';
import { type DaxDevice, discoverDaxDevices } from './sysfs.ts';

export interface WatchOptions {
  engine: Engine;
  inventory: Inventory;
  choice: DeviceChoice;
  seen: SeenDevices;
  /** Where sysfs is mounted. */
  sysfsRoot?: string;
  log: FastifyBaseLogger;
}

/** Notices devices that come, go and come back, and bad blocks, while the daemon runs. */
export class DeviceWatch {
  readonly #options: WatchOptions;
  /** Whether files stand in for devices: these keep their names until the daemon is restarted. */
  readonly #standIns: boolean;
  /** Handles of devices that have gone, which jobs may still name. */
  #closing: number[] = [];
  /** Why devices could not be taken up, so as to say it once. */
  readonly #refused = new Map<string, string>();

  constructor(options: WatchOptions) {
    this.#options = options;
    const emulated = options.inventory.list().some(({ kind }) => kind === 'emulated');
    this.#standIns = options.choice.kind === 'auto' && emulated;
  }

  /** Compares what is managed with what there is. Some system calls for each device. */
  scan(): void {
    const { engine, inventory, sysfsRoot } = this.#options;
    const found = new Map(discoverDaxDevices(sysfsRoot).map((device) => [device.name, device]));
    for (const device of inventory.list()) {
      if (device.state === 'online') this.#check(device, found.get(device.name));
    }
    this.#closing = this.#closing.filter((handle) => !engine.closeDevice(handle));
    for (const device of inventory.list()) {
      if (device.state === 'gone') this.#takeUp(device.name, () => this.#reopen(device, found));
    }
    for (const device of found.values()) this.#notice(device);
  }

  /** Takes up a device that is wanted and not managed yet. */
  #notice(found: DaxDevice): void {
    const { engine, inventory, choice } = this.#options;
    const { name } = found;
    if (this.#standIns) {
      if (whyUnusable(found) !== undefined || inventory.missing.has(name)) return;
      inventory.miss(name, 'it has come, but files stand in for devices until a restart');
      this.#options.log.warn({ device: name }, 'device not served: files stand in until a restart');
      return;
    }
    const wanted = choice.kind === 'auto' || inventory.missing.has(name);
    if (!wanted || inventory.find(name) !== undefined) return;
    const unusable = whyUnusable(found);
    if (unusable === undefined) this.#takeUp(name, () => openDevdax(engine, found));
    else if (inventory.missing.has(name)) inventory.miss(name, unusable);
  }

  #check(device: Device, found: DaxDevice | undefined): void {
    const reason = device.kind === 'emulated' ? whyNotFile(device) : whyNotDevice(device, found);
    if (reason !== undefined) {
      device.state = 'gone';
      device.stateReason = reason;
      this.#closing.push(device.handle);
      this.#options.log.warn({ device: device.name, reason }, 'device gone');
    } else if (found?.badBlocks !== undefined && device.kind === 'devdax') {
      // What the kernel has told the shim may not be in its list, or not yet.
      const told = this.#options.engine
        .badRanges(device.handle)
        .filter((range) => !found.badBlocks?.some((block) => covers(block, range)));
      const badBlocks = [...found.badBlocks, ...told];
      if (badBlocks.length > device.badBlocks.length) {
        this.#options.log.warn({ device: device.name, bad_blocks: badBlocks }, 'bad blocks');
      }
      device.badBlocks = badBlocks;
    }
  }

  /** @returns undefined if it is not back yet */
  #reopen(gone: Device, found: ReadonlyMap<string, DaxDevice>): Device | undefined {
    const { engine } = this.#options;
    if (gone.kind === 'emulated') {
      const file = fileAt(gone.path);
      return file?.isFile() && file.size === gone.size
        ? openEmulated(engine, gone, gone.path)
        : undefined;
    }
    const device = found.get(gone.name);
    if (device === undefined || whyUnusable(device) !== undefined) return undefined;
    return openDevdax(engine, device);
  }

  #takeUp(name: string, open: () => Device | undefined): void {
    const { inventory, seen, log } = this.#options;
    try {
      const device = open();
      if (device === undefined) return;
      inventory.put(device);
      if (device.kind === 'devdax') seen.add(name);
      this.#refused.delete(name);
      log.info({ device: name, size: device.size }, 'device online');
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      if (this.#refused.get(name) === error.message) return;
      this.#refused.set(name, error.message);
      log.warn({ device: name }, error.message);
    }
  }
}

function covers(outer: ByteRange, { offset, size }: ByteRange): boolean {
  return outer.offset <= offset && offset + size <= outer.offset + outer.size;
}

/** Why what was found is not the device any more; undefined if it is. */
function whyNotDevice(device: Device, found: DaxDevice | undefined): string | undefined {
  if (found === undefined) return 'it was removed';
  const unusable = whyUnusable(found);
  if (unusable !== undefined) return unusable;
  if (found.instance !== device.instance) return 'it was bound to its driver anew';
  return found.size === device.size ? undefined : `it has ${found.size} bytes now`;
}
