// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from './device.ts';

/** What an upload or a transfer writes. */
export interface Writing {
  device: Device;
  ranges: readonly WrittenRange[];
  /** Of a copy: its transfer's id, and the device that it reads. */
  copy?: { id: string; source: Device } | undefined;
}

/** What has been written in full. */
export interface Written extends Writing {
  /** Whether it was flushed. */
  flush: boolean;
}

export interface WrittenRange extends ByteRange {
  /** Where a copy reads these bytes. */
  sourceOffset?: number | undefined;
}
