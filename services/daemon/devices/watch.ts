// SPDX-License-Identifier: Apache-2.0
import { lstatSync } from 'node:fs';
import type { FastifyBaseLogger } from 'fastify';
import type { Engine } from '../engines/engine.ts';
import { StartError } from '../start-error.ts';
import type { DeviceChoice } from './choice.ts';
import type { Device, Inventory } from './device.ts';
import { openDevdax, openEmulated, whyUnusable } from './open.ts';
import { type DaxDevice, discoverDaxDevices } from './sysfs.ts';

export interface WatchOptions {
  engine: Engine;
  inventory: Inventory;
  choice: DeviceChoice;
  /** Where sysfs is mounted. */
  sysfsRoot?: string;
  log: FastifyBaseLogger;
}

/** Notices devices that go and come back, and bad blocks that are found, while the daemon runs. */
export class DeviceWatch {
  readonly #options: WatchOptions;
  /** Whether devices that nobody named are taken up when they appear. */
  readonly #takesNew: boolean;
  /** Handles of devices that have gone, which jobs may still name. */
  #closing: number[] = [];
  /** Why devices could not be taken up, so as to say it once. */
  readonly #refused = new Map<string, string>();

  constructor(options: WatchOptions) {
    this.#options = options;
    // Where files stand in for devices, they keep their names until the daemon is restarted.
    const standIns = options.inventory.list().some(({ kind }) => kind === 'emulated');
    this.#takesNew = options.choice.kind === 'auto' && !standIns;
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
    if (!this.#takesNew) return;
    for (const device of found.values()) {
      if (inventory.find(device.name) !== undefined || whyUnusable(device) !== undefined) continue;
      this.#takeUp(device.name, () => openDevdax(engine, device));
    }
  }

  #check(device: Device, found: DaxDevice | undefined): void {
    const reason = device.kind === 'emulated' ? whyNotFile(device) : whyNotDevice(device, found);
    if (reason !== undefined) {
      device.state = 'gone';
      device.stateReason = reason;
      this.#closing.push(device.handle);
      this.#options.log.warn({ device: device.name, reason }, 'device gone');
    } else if (found?.badBlocks !== undefined && device.kind === 'devdax') {
      if (found.badBlocks.length > device.badBlocks.length) {
        this.#options.log.warn({ device: device.name, bad_blocks: found.badBlocks }, 'bad blocks');
      }
      device.badBlocks = found.badBlocks;
    }
  }

  /** @returns undefined where it is not back yet */
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
    const { inventory, log } = this.#options;
    try {
      const device = open();
      if (device === undefined) return;
      inventory.put(device);
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

/** Why what was found is not the device any more; undefined where it is. */
function whyNotDevice(device: Device, found: DaxDevice | undefined): string | undefined {
  if (found === undefined) return 'it was removed';
  const unusable = whyUnusable(found);
  if (unusable !== undefined) return unusable;
  if (found.instance !== device.instance) return 'it was bound to its driver anew';
  return found.size === device.size ? undefined : `it has ${found.size} bytes now`;
}

/** The same of a file that stands in for one. */
function whyNotFile({ path, instance, size }: Device): string | undefined {
  const file = fileAt(path);
  if (file === undefined) return 'its file was removed';
  if (file.ino !== instance || !file.isFile()) return 'its file was replaced';
  return file.size < size ? `its file was cut short to ${file.size} bytes` : undefined;
}

/** Never through a link, as it is not opened through one. */
function fileAt(path: string) {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
