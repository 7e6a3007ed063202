// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Context, Runner } from '../lib/context.ts';
import { type DeviceRange, parseRange, parseSizedRange, type SizedRange } from '../lib/ranges.ts';
import { twoRanges } from '../lib/two-ranges.ts';
import { addWriteOptions, perform, requestOf, type WriteOptions } from './transfer-options.ts';

export function copy(program: Command, run: Runner): void {
  const command = program
    .command('copy')
    .description('copy bytes inside a device, or to another one')
    .argument('<source>', 'such as dax0.0:0+32MiB', parseSizedRange)
    .argument('<destination>', 'such as dax1.0:1MiB', parseRange);
  addWriteOptions(command).action(
    run((context: Context, from: SizedRange, to: DeviceRange, options: WriteOptions) => {
      const request = { ...twoRanges(from, to), ...requestOf(options) };
      return perform(context, request, options);
    }),
  );
}
