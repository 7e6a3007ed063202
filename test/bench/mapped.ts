// SPDX-License-Identifier: Apache-2.0
import type { Workshop } from './copier.ts';
import { Server } from './server.ts';

/**
 * The end of a row's name whose devices are in huge pages: the daemon maps them, as it maps a device-dax device. Files in
 * /dev/shm it reads and writes.
 */
const MAPPED = '_mapped';

/** The names of the rows that are measured in huge pages as well. */
export function alsoMapped(names: readonly string[]): string[] {
  return names.flatMap((name) => [name, `${name}${MAPPED}`]);
}

/** What a row measures, and whether it does so in huge pages. */
export function readName(name: string): { row: string; mapped: boolean } {
  const mapped = name.endsWith(MAPPED);
  return { row: mapped ? name.slice(0, -MAPPED.length) : name, mapped };
}

/** Where a row's files are, of that many bytes in all. @throws Unavailable */
export function filesOf(workshop: Workshop, name: string, bytes: number): string {
  return readName(name).mapped ? workshop.hugePages(bytes) : workshop.directory;
}

/** A daemon with one device, `dax0.0`. @param files the directory in which it makes one for the device's file */
export function oneDevice(
  workshop: Workshop,
  files: string,
  size: number,
  environment: Record<string, string> = {},
): Promise<Server> {
  const only = { DMAD_DEVICES: `emulated:dax0.0=${size}` };
  return Server.daemon(workshop.directory, size, { ...only, ...environment }, files);
}
