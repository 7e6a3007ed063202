// SPDX-License-Identifier: Apache-2.0

import type { DigestAlgorithm } from '../../http/content-digest.ts';
import { CHUNK_SIZE } from '../../http/stream-slots.ts';
import type { BodyHashes } from '../devices/body-hashes.ts';
import { checksum } from '../devices/checksum.ts';
import type { Device } from '../devices/device.ts';
import { throttle } from '../devices/throttle.ts';
import { type DigestOptions, hashSpan } from './digests.ts';

export interface WholeDigestOptions extends Omit<DigestOptions, 'hashers'> {
  hashes: BodyHashes;
}

/**
 * The digest of all of a device's bytes, which are read for it. Those of several devices are computed
 * side by side, so that a large one does not keep others waiting.
 *
 * @throws Problem device_gone, media_error, or cancelled if it was stopped
 */
export async function digestOfDevice(
  device: Device,
  algorithm: DigestAlgorithm,
  { engine, hashes, pace, signal }: WholeDigestOptions,
): Promise<Uint8Array> {
  const whole = { offset: 0, size: device.size };
  if (algorithm === 'crc32c') {
    const digest = Buffer.alloc(4);
    digest.writeUInt32BE(await checksum(engine, device, whole, pace, signal));
    return digest;
  }
  await throttle(pace, device.size, signal);
  const buffer = () => Buffer.from(new SharedArrayBuffer(CHUNK_SIZE));
  return hashSpan(device, whole, hashes.begin(), [buffer(), buffer()], { engine, signal });
}
