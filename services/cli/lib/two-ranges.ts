// SPDX-License-Identifier: Apache-2.0
import { CliError } from './exit-codes.ts';
import { type DeviceRange, formatRange, type SizedRange } from './ranges.ts';

/**
 * What a request has that is about two ranges, of which the second need not name its size.
 *
 * @throws CliError `usage` if it names another size
 */
export function twoRanges(from: SizedRange, to: DeviceRange) {
  if (to.size !== undefined && to.size !== from.size) {
    const message = `${formatRange(from)} and ${formatRange(to)} are not of the same size`;
    throw new CliError('usage', message);
  }
  return {
    ...{ device_name: from.device, dst_device_name: to.device },
    ...{ src_offset: from.offset, dst_offset: to.offset, size: from.size },
  };
}
