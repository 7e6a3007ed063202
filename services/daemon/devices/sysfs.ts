// SPDX-License-Identifier: Apache-2.0
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ByteRange } from '../../base/byte-range.ts';

/** A device-dax device, as sysfs tells of it. */
export interface DaxDevice {
  name: string;
  /** Another one whenever the device was made, or bound to its driver, anew. */
  instance: number;
  /**
   * What its memory is known by wherever the kernel finds it: of an NVDIMM, its namespace's, as
   * `ndctl list` shows it; of CXL memory, its region's; null if it has none.
   */
  uuid: string | null;
  /** Where it begins in the memory that has that uuid, in bytes; null if that is not known. */
  uuidOffset: number | null;
  /** Its physical address; null if it is not known: the kernel shows it to root alone. */
  resource: number | null;
  /** `device_dax` gives the character device; `kmem` has made system RAM of it; null: unbound. */
  driver: string | null;
  size: number;
  align: number;
  numaNode: number | null;
  /**
   * What its NVDIMM region says a store must reach to survive power loss (Linux
   * Documentation/ABI/testing/sysfs-bus-nvdimm); `unknown` if the platform does not say;
   * `volatile` for memory that belongs to no NVDIMM region, such as CXL RAM.
   */
  persistenceDomain: 'cpu_cache' | 'memory_controller' | 'unknown' | 'volatile';
  /** Undefined if there are some, but only root may read where they are. */
  badBlocks: ByteRange[] | undefined;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NIL_UUID = '00000000-0000-0000-0000-000000000000';

/** The unit of sysfs's badblocks lists, whatever the device's own block size. */
const SECTOR = 512;

/** Every device-dax device. @param root where sysfs is mounted */
export function discoverDaxDevices(root = '/sys'): DaxDevice[] {
  const bus = join(root, 'bus/dax/devices');
  // Where kernels before 5.17 show those that dax_pmem_compat has: device_dax serves them, though
  // no link says so.
  const compat = join(root, 'class/dax');
  const devices = [
    ...listLinks(bus).map(([name, directory]) => describe(name, directory)),
    ...listLinks(compat).map(([name, directory]) => ({
      ...describe(name, directory),
      driver: 'device_dax',
    })),
  ];
  return devices.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}

function describe(name: string, directory: string): DaxDevice {
  const region = nvdimmRegionOf(directory);
  const size = readNumber(directory, 'size') ?? 0;
  const numaNode = readNumber(directory, 'numa_node') ?? -1;
  return {
    name,
    instance: inodeOf(join(directory, 'driver')) ?? inodeOf(directory) ?? 0,
    ...readUuid(directory),
    resource: readNumber(directory, 'resource') ?? null,
    driver: readLinkName(directory, 'driver'),
    size,
    align: readNumber(directory, 'align') ?? 0,
    numaNode: numaNode < 0 ? null : numaNode,
    persistenceDomain: region === undefined ? 'volatile' : readPersistenceDomain(region),
    badBlocks: region === undefined ? [] : readBadBlocks(region, directory, size),
  };
}

/** The NVDIMM region that a device's memory is part of: an ancestor in the device tree. */
function nvdimmRegionOf(directory: string): string | undefined {
  for (let at = directory; at !== dirname(at); at = dirname(at)) {
    // CXL has regions too, on a bus of their own.
    if (/^region[0-9]+$/.test(basename(at)) && readLinkName(at, 'subsystem') === 'nd') return at;
  }
  return undefined;
}

/** Of the nearest ancestor that has one: an NVDIMM's namespace, or a CXL region. */
function readUuid(directory: string): Pick<DaxDevice, 'uuid' | 'uuidOffset'> {
  for (let at = dirname(directory); at !== dirname(at); at = dirname(at)) {
    const uuid = readText(at, 'uuid')?.toLowerCase();
    if (uuid === undefined || !UUID.test(uuid) || uuid === NIL_UUID) continue;
    const bus = readLinkName(at, 'subsystem');
    // A namespace in this mode has one device, which is all of it.
    if (bus === 'nd') return { uuid, uuidOffset: 0 };
    if (bus === 'cxl') return { uuid, uuidOffset: offsetIn(at, directory) ?? null };
  }
  return { uuid: null, uuidOffset: null };
}

/** Where a device begins in its region, in bytes: both tell their physical address. */
function offsetIn(region: string, directory: string): number | undefined {
  const regionStart = readNumber(region, 'resource');
  const deviceStart = readNumber(directory, 'resource');
  if (regionStart === undefined || deviceStart === undefined) return undefined;
  return deviceStart - regionStart;
}

function readPersistenceDomain(region: string): DaxDevice['persistenceDomain'] {
  if (readText(region, 'devtype') === 'nd_volatile') return 'volatile';
  // Absent if the firmware does not say.
  const text = readText(region, 'persistence_domain');
  return text === 'cpu_cache' || text === 'memory_controller' ? text : 'unknown';
}

/** The region's bad blocks as ranges of the device, which begins somewhere inside the region. */
function readBadBlocks(region: string, directory: string, size: number): DaxDevice['badBlocks'] {
  const list = readText(region, 'badblocks') ?? '';
  if (list === '') return [];
  const lines = list.split('\n');
  const deviceOffset = offsetIn(region, directory);
  if (deviceOffset === undefined) return undefined;
  return lines.flatMap((line) => {
    const [sector, count] = line.trim().split(/\s+/).map(Number);
    if (sector === undefined || count === undefined) return [];
    const first = sector * SECTOR - deviceOffset;
    const offset = Math.max(first, 0);
    const end = Math.min(first + count * SECTOR, size);
    return end > offset ? [{ offset, size: end - offset }] : [];
  });
}

/** sysfs gives no inode number twice. */
function inodeOf(path: string): number | undefined {
  try {
    return lstatSync(path).ino;
  } catch {
    return undefined;
  }
}

/** What a link such as `driver` or `subsystem` points at; null if there is none. */
function readLinkName(directory: string, link: string): string | null {
  try {
    return basename(readlinkSync(join(directory, link)));
  } catch {
    return null;
  }
}

function readNumber(directory: string, attribute: string): number | undefined {
  const text = readText(directory, attribute);
  return text === undefined || text === '' ? undefined : Number(text);
}

function readText(directory: string, attribute: string): string | undefined {
  try {
    return readFileSync(join(directory, attribute), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The names in a directory of links, and where they lead; what vanishes meanwhile is left out. */
function listLinks(directory: string): [string, string][] {
  try {
    return readdirSync(directory).flatMap((name): [string, string][] => {
      try {
        return [[name, realpathSync(join(directory, name))]];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}
