// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from './device.ts';

/** What an upload or a transfer has written in full. */
export interface Written {
  device: Device;
  ranges: readonly WrittenRange[];
  /** Whether it was flushed. */
  flush: boolean;
  /** The device that a copy has read. */
  source?: Device;
}

export interface WrittenRange extends ByteRange {
  /** Where a copy has read these bytes. */
  sourceOffset?: number;
}
