// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { StartError } from '../../base/start-error.ts';
import { syncDirectory } from '../../base/sync-directory.ts';
import type { Problem } from '../../http/problems/problem.ts';
import { type Device, deviceGone } from './device.ts';

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;

/** What stands in on a machine with no device-dax, so that anyone can try the service. */
export const EMULATED_PAIR = [
  { kind: 'emulated', name: 'dax0.0', size: 256 * 2 ** 20 },
  { kind: 'emulated', name: 'dax1.0', size: 256 * 2 ** 20 },
] as const;

/** Emulated devices are mapped by pages; they have no alignment of their own. */
export const EMULATED_ALIGN = 4096;

/**
 * Makes the sparse file behind an emulated device, or finds it with the bytes it had.
 *
 * @returns its path
 * @throws StartError configuration, if it cannot be made or would have to shrink
 */
export function prepareEmulatedDevice(
  stateDir: string,
  { name, size }: { name: string; size: number },
): string {
  const path = join(stateDir, 'devices', name);
  try {
    const directory = dirname(path);
    if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) {
      syncDirectory(stateDir);
    }
    // Never through a link: any file could be overwritten through it.
    const file = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      const { size: present } = fstatSync(file);
      if (present > size) {
        throw new StartError(
          'configuration',
          `DMAD_DEVICES: ${path} has ${present} bytes, more than the ${size} asked for; ` +
            'give it its old size, or remove the file if its bytes are no longer wanted',
        );
      }
      if (present < size) {
        ftruncateSync(file, size);
        fsyncSync(file);
        syncDirectory(directory);
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError('configuration', `cannot make ${path}: ${(error as Error).message}`);
  }
  return path;
}

/** Why a device's file does not have all its bytes any more; undefined while it has. */
export function whyNotFile(device: Device): string | undefined {
  const { path, size } = device;
  const moved = whyMoved(device);
  if (moved !== undefined) return moved;
  const present = fileAt(path)?.size ?? 0;
  return present < size ? `its file was cut short to ${present} bytes` : undefined;
}

/**
 * What is wrong with bytes that were just written into a device's file or read from it: nobody finds
 * them again if that file is not at its path any more. Where it is only cut short, those that are
 * beyond its end have failed already.
 */
export function fileProblem(device: Device): Problem | undefined {
  if (device.kind !== 'emulated' || found?.has(device)) return undefined;
  const reason = whyMoved(device);
  if (reason !== undefined) return deviceGone(device.name, reason);
  if (found === undefined) {
    found = new Set();
    process.nextTick(() => {
      found = undefined;
    });
  }
  found.add(device);
  return undefined;
}

/**
 * Devices whose files were found at their paths in this callback of the event loop. What ends in it ends at one
 * moment for all who ask, and a chain of small transfers need not look for each of them: that takes 6 µs.
 */
let found: Set<Device> | undefined;

function whyMoved({ path, instance }: Device): string | undefined {
  const file = fileAt(path);
  if (file === undefined) return 'its file was removed';
  return file.ino === instance && file.isFile() ? undefined : 'its file was replaced';
}

/** Never through a link, as it is not opened through one. */
export function fileAt(path: string) {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
