// SPDX-License-Identifier: Apache-2.0
import { checksum } from '../devices/checksum.ts';
import type { Device } from '../devices/device.ts';
import type { DigestAlgorithm } from '../http/content-digest.ts';
import { type DigestOptions, digests } from './digests.ts';

/**
 * The digest of all of a device's bytes, which are read for it.
 *
 * @throws Problem device_gone, media_error, or cancelled if it was stopped
 */
export async function digestOfDevice(
  device: Device,
  algorithm: DigestAlgorithm,
  options: DigestOptions,
): Promise<Uint8Array> {
  const whole = { offset: 0, size: device.size };
  if (algorithm === 'crc32c') {
    const digest = Buffer.alloc(4);
    digest.writeUInt32BE(await checksum(options.engine, device, whole, options.pace, options.left));
    return digest;
  }
  const parts: Uint8Array[] = [];
  for await (const part of digests(device, whole, device.size, options)) parts.push(part);
  return Buffer.concat(parts);
}
