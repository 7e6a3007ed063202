// SPDX-License-Identifier: Apache-2.0
import { lstatSync } from 'node:fs';
import type { FastifyBaseLogger } from 'fastify';
import { readBootId } from '../../base/boot-id.ts';
import { ShimError } from '../../base/native/shim.ts';
import { StartError } from '../../base/start-error.ts';
import type { Engine } from '../engines/engine.ts';
import type { DeviceSpec, OpenedDevice } from '../engines/opened-devices.ts';
import type { ChosenDevice, DeviceChoice } from './choice.ts';
import { type Device, Inventory } from './device.ts';
import { EMULATED_ALIGN, EMULATED_PAIR, prepareEmulatedDevice } from './emulated.ts';
import { daxIdentity, fileIdentity } from './identity.ts';
import type { SeenDevices } from './seen.ts';
import { type DaxDevice, discoverDaxDevices } from './sysfs.ts';

export interface OpenOptions {
  choice: DeviceChoice;
  stateDir: string;
  seen: SeenDevices;
  /** Whether files may stand in for devices if there are none and there never were. */
  standIns: boolean;
  /** Where sysfs is mounted. */
  sysfsRoot?: string;
  log: FastifyBaseLogger;
}

/**
 * Finds and opens the devices that the daemon is to manage. Real devices that are not there yet are
 * missing in the inventory, and taken up once they are: see watch.ts.
 *
 * @throws StartError if one that is there cannot be opened, or a file cannot be made
 */
export function openDevices(engine: Engine, options: OpenOptions): Inventory {
  const { stateDir, seen, log } = options;
  const found = new Map(discoverDaxDevices(options.sysfsRoot).map((each) => [each.name, each]));
  const inventory = new Inventory([]);
  for (const device of choose(found, options)) {
    if (device.kind === 'emulated') {
      inventory.put(openEmulated(engine, device, prepareEmulatedDevice(stateDir, device)));
      continue;
    }
    const { name } = device;
    try {
      inventory.put(openFound(engine, name, found, options));
      seen.add(name);
    } catch (error) {
      if (!(error instanceof DeviceMissing)) throw error;
      inventory.miss(name, error.message);
      log.warn({ device: name, reason: error.message }, 'device missing: served once it is there');
    }
  }
  return inventory;
}

/** A device that is to be served once it is there. */
export class DeviceMissing extends StartError {
  constructor(reason: string) {
    super('configuration', reason);
  }
}

/** @throws DeviceMissing, or StartError if it is there and cannot be opened */
function openFound(
  engine: Engine,
  name: string,
  found: ReadonlyMap<string, DaxDevice>,
  options: OpenOptions,
): Device {
  const device = found.get(name);
  if (device === undefined) throw new DeviceMissing(whyMissing(found, options));
  const reason = whyUnusable(device);
  if (reason !== undefined) throw new DeviceMissing(reason);
  return openDevdax(engine, device);
}

function choose(
  found: ReadonlyMap<string, DaxDevice>,
  { choice, seen, standIns, log }: OpenOptions,
): readonly ChosenDevice[] {
  if (choice.kind === 'list') return choice.devices;
  const usable = [...found.values()].filter((device) => {
    const reason = whyUnusable(device);
    if (reason !== undefined) log.warn({ device: device.name }, `device skipped: ${reason}`);
    return reason === undefined;
  });
  const names = new Set([...usable.map(({ name }) => name), ...seen.names]);
  if (names.size > 0) return [...names].map((name) => ({ kind: 'devdax', name }));
  if (standIns) {
    log.warn('this machine has no usable device-dax device: emulating two in files');
    return EMULATED_PAIR;
  }
  log.warn(
    'no usable device-dax device is there yet: waiting for one; without real devices, name ' +
      'emulated ones, as in DMAD_DEVICES=emulated:dax0.0=256MiB',
  );
  return [];
}

function whyMissing(found: ReadonlyMap<string, DaxDevice>, { choice, seen }: OpenOptions): string {
  const names = `there is: ${[...found.keys()].join(', ') || 'none'}`;
  if (choice.kind === 'list') return `no device-dax device has that name; ${names}`;
  return `it was served before; ${names}; take it out of ${seen.path} if it will not come back`;
}

/** Why a device must not be touched, or cannot be. */
export function whyUnusable(device: DaxDevice): string | undefined {
  if (device.driver === 'kmem') return 'it is in use as system RAM (driver kmem)';
  if (device.driver !== 'device_dax') {
    return `it is not bound to device_dax but to ${device.driver ?? 'no driver'}`;
  }
  if (device.size === 0) return 'it has no bytes';
  if (device.badBlocks === undefined)
    return 'it has bad blocks, and only root may read where they are: run the daemon as root';
  return undefined;
}

/** @throws StartError if it cannot be opened */
export function openDevdax(engine: Engine, found: DaxDevice): Device {
  const path = `/dev/${found.name}`;
  const { name, instance, align, size, numaNode, persistenceDomain, badBlocks = [] } = found;
  // If the platform does not say what its persistence domain is, CPU caches are written back: that
  // is never wrong.
  const persistence = persistenceDomain === 'unknown' ? 'memory_controller' : persistenceDomain;
  const opened = open(engine, path, { kind: 'devdax', size, align, persistence });
  return {
    name,
    path,
    kind: 'devdax',
    identity: daxIdentity(found, readBootId()),
    uuid: found.uuid,
    resource: found.resource,
    size: opened.size,
    align,
    numaNode,
    persistenceDomain,
    badBlocks,
    state: 'online',
    stateReason: null,
    instance,
    handle: opened.handle,
    flushBasis: opened.flushBasis,
  };
}

/**
 * @param path of its file
 * @throws StartError if it cannot be opened
 */
export function openEmulated(
  engine: Engine,
  { name, size }: { name: string; size: number },
  path: string,
): Device {
  const spec: DeviceSpec = { kind: 'emulated', size, align: 0, persistence: 'volatile' };
  const { handle, persistence, flushBasis } = open(engine, path, spec);
  return {
    name,
    path,
    kind: 'emulated',
    identity: fileIdentity(path),
    uuid: null,
    resource: null,
    size,
    align: EMULATED_ALIGN,
    numaNode: null,
    persistenceDomain: persistence,
    badBlocks: [],
    state: 'online',
    stateReason: null,
    instance: lstatSync(path).ino,
    handle,
    flushBasis,
  };
}

function open(engine: Engine, path: string, spec: DeviceSpec): OpenedDevice {
  try {
    return engine.openDevice(path, spec);
  } catch (error) {
    if (!(error instanceof ShimError)) throw error;
    if (error.code === 'EWOULDBLOCK' || error.code === 'EAGAIN') {
      throw new StartError('state_in_use', `${path} is in use by another process`);
    }
    // udev makes the node some time after sysfs shows the device.
    if (error.code === 'ENOENT') throw new DeviceMissing(`there is no ${path}`);
    throw new StartError(
      'configuration',
      `cannot open ${path}: ${error.code}; start as root, or choose others with DMAD_DEVICES`,
    );
  }
}
