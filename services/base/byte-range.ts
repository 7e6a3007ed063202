// SPDX-License-Identifier: Apache-2.0

/** A range of a device, in bytes. */
export interface ByteRange {
  offset: number;
  size: number;
}
