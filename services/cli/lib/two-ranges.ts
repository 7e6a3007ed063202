// SPDX-License-Identifier: Apache-2.0
import { CliError } from './exit-codes.ts';
import { type DeviceRange, formatRange, type SizedRange } from './ranges.ts';

/** The size of two ranges, of which the second need not name it. @throws CliError if they differ */
export function sameSize(first: SizedRange, second: DeviceRange): number {
  if (second.size === undefined || second.size === first.size) return first.size;
  const message = `${formatRange(first)} and ${formatRange(second)} are not of the same size`;
  throw new CliError('usage', message);
}
