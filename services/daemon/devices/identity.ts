// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { lstatSync } from 'node:fs';
import type { DeviceKind } from '../engines/records.ts';
import type { DaxDevice } from './sysfs.ts';

/**
 * What a device-dax device is known by, in the journal: its memory, not its name, which the kernel
 * gives in the order in which it finds regions.
 *
 * @param bootId of this boot; undefined if it is not known
 */
export function daxIdentity(device: DaxDevice, bootId: string | undefined): string {
  const { uuid, uuidOffset, resource, size, align, instance } = device;
  // The uuid of an NVDIMM's namespace is enough, but a CXL region can have several devices.
  if (uuid !== null && uuidOffset === 0) return `uuid:${uuid}`;
  if (uuid !== null && uuidOffset !== null) return `uuid:${uuid} offset:${uuidOffset}`;
  if (resource !== null) return `resource:0x${resource.toString(16)} size:${size} align:${align}`;
  // sysfs is masked: all that is known is that it has not been made anew since this boot.
  return `boot:${bootId ?? randomUUID()} instance:${instance}`;
}

/** A file made anew may have the number of the one before, but was not born when that was. */
export function fileIdentity(path: string): string {
  const { ino, birthtimeNs } = lstatSync(path, { bigint: true });
  return `${ino} ${birthtimeNs}`;
}

/**
 * Whether an identity is one that older daemons kept: size and alignment, which many devices share.
 */
export function isLegacyIdentity(kind: DeviceKind, identity: string): boolean {
  return kind === 'devdax' && /^\d+ \d+$/.test(identity);
}
