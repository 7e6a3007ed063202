// SPDX-License-Identifier: Apache-2.0
import { parseByteCount } from '../../base/byte-count-text.ts';
import { deviceNameOf, isDeviceName } from '../../base/device-name.ts';

/** Which devices to manage, as DMAD_DEVICES says. */
export type DeviceChoice = { kind: 'auto' } | { kind: 'list'; devices: ChosenDevice[] };
export type ChosenDevice =
  | { kind: 'devdax'; name: string }
  | { kind: 'emulated'; name: string; size: number };

const EMULATED = /^emulated:([^=]+)=(.+)$/;

/**
 * Emulated devices are mapped and flushed in pages, and there may be many; the largest is far
 * above what any file system here can hold.
 */
const PAGE = 4096;
export const MAX_DEVICES = 256;

/**
 * Reads DMAD_DEVICES: `auto`, or a list such as `/dev/dax0.0,emulated:dax9.0=256MiB`.
 *
 * @throws Error that says what is wrong with which entry
 */
export function parseDevices(text: string): DeviceChoice {
  if (text.trim() === 'auto') return { kind: 'auto' };
  const devices = text.split(',').map((entry) => parseDevice(entry.trim()));
  const names = new Set(devices.map((device) => device.name));
  if (names.size < devices.length) throw new Error('names a device twice');
  if (devices.length > MAX_DEVICES) throw new Error(`names more than ${MAX_DEVICES} devices`);
  return { kind: 'list', devices };
}

function parseDevice(entry: string): ChosenDevice {
  const [, emulatedName, sizeText = ''] = EMULATED.exec(entry) ?? [];
  const name = deviceNameOf(emulatedName ?? entry);
  if (!isDeviceName(name)) {
    throw new Error(
      `"${entry}" is no device: use auto, or a list such as /dev/dax0.0,emulated:dax9.0=256MiB`,
    );
  }
  if (emulatedName === undefined) return { kind: 'devdax', name };
  const size = parseByteCount(sizeText);
  if (size === undefined || size === 0 || size % PAGE !== 0) {
    throw new Error(`"${entry}": the size must be a positive multiple of 4 KiB, such as 256MiB`);
  }
  return { kind: 'emulated', name, size };
}
