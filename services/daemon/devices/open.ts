// SPDX-License-Identifier: Apache-2.0
import { lstatSync } from 'node:fs';
import type { FastifyBaseLogger } from 'fastify';
import { readBootId } from '../boot-id.ts';
import type { Engine } from '../engines/engine.ts';
import type { DeviceSpec, OpenedDevice } from '../engines/opened-devices.ts';
import { ShimError } from '../engines/shim.ts';
import { StartError } from '../start-error.ts';
import type { ChosenDevice, DeviceChoice } from './choice.ts';
import { type Device, Inventory } from './device.ts';
import { EMULATED_ALIGN, EMULATED_PAIR, prepareEmulatedDevice } from './emulated.ts';
import { daxIdentity, fileIdentity } from './identity.ts';
import { type DaxDevice, discoverDaxDevices } from './sysfs.ts';

export interface OpenOptions {
  choice: DeviceChoice;
  stateDir: string;
  /** Where sysfs is mounted. */
  sysfsRoot?: string;
  log: FastifyBaseLogger;
}

/**
 * Finds and opens the devices that the daemon is to manage.
 *
 * @throws StartError where one that was asked for cannot be had
 */
export function openDevices(engine: Engine, options: OpenOptions): Inventory {
  const found = discoverDaxDevices(options.sysfsRoot);
  const chosen = choose(found, options);
  return new Inventory(
    chosen.map((device) =>
      device.kind === 'emulated'
        ? openEmulated(engine, device, prepareEmulatedDevice(options.stateDir, device))
        : openDevdax(engine, findDevdax(found, device.name)),
    ),
  );
}

function choose(found: DaxDevice[], { choice, log }: OpenOptions): readonly ChosenDevice[] {
  if (choice.kind === 'list') return choice.devices;
  for (const device of found) {
    const reason = whyUnusable(device);
    if (reason !== undefined) log.warn({ device: device.name }, `left alone: ${reason}`);
  }
  const usable = found.filter((device) => whyUnusable(device) === undefined);
  if (usable.length > 0) return usable.map(({ name }) => ({ kind: 'devdax', name }));
  log.warn('this machine has no usable device-dax device: emulating two in files');
  return EMULATED_PAIR;
}

function findDevdax(found: DaxDevice[], name: string): DaxDevice {
  const device = found.find((candidate) => candidate.name === name);
  if (device === undefined) {
    const names = found.map((candidate) => candidate.name).join(', ') || 'none';
    throw new StartError(
      'configuration',
      `DMAD_DEVICES: no device-dax ${name}; there is: ${names}`,
    );
  }
  const reason = whyUnusable(device);
  if (reason !== undefined)
    throw new StartError('configuration', `DMAD_DEVICES: ${name}: ${reason}`);
  return device;
}

/** Why a device must not be touched, or cannot be. */
export function whyUnusable(device: DaxDevice): string | undefined {
  if (device.driver === 'kmem') return 'it is in use as system RAM (driver kmem)';
  if (device.driver !== 'device_dax') {
    return `it is not bound to device_dax but to ${device.driver ?? 'no driver'}`;
  }
  if (device.size === 0) return 'it has no bytes';
  if (device.badBlocks === undefined) return 'it has bad blocks, and only root is told where';
  return undefined;
}

/** @throws StartError where it cannot be opened */
export function openDevdax(engine: Engine, found: DaxDevice): Device {
  const path = `/dev/${found.name}`;
  const { name, instance, align, size, numaNode, persistenceDomain, badBlocks = [] } = found;
  // A platform that does not say where its persistence domain begins is taken to have none for
  // CPU caches: writing them back is never wrong.
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
 * @throws StartError where it cannot be opened
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
    throw new StartError(
      'configuration',
      `cannot open ${path}: ${error.code}; start as root, or choose others with DMAD_DEVICES`,
    );
  }
}
