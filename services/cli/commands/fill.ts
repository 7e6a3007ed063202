// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Context, Runner } from '../lib/context.ts';
import { parseSizedRange, type SizedRange } from '../lib/ranges.ts';
import { addWriteOptions, perform, requestOf, type WriteOptions } from './transfer-options.ts';

export function fill(program: Command, run: Runner): void {
  const command = program
    .command('fill')
    .description('write a pattern over bytes of a device')
    .argument('<range>', 'such as dax0.0:0+1GiB', parseSizedRange)
    .option('--pattern <hex>', '1, 2, 4, 8, 16, 32 or 64 bytes in hex digits; zeros if absent');
  addWriteOptions(command).action(
    run((context: Context, range: SizedRange, options: WriteOptions & { pattern?: string }) => {
      const { pattern } = options;
      const request = {
        ...{ operation: 'fill' as const, device_name: range.device },
        ...{ dst_offset: range.offset, size: range.size },
        ...(pattern !== undefined && { pattern }),
        ...requestOf(options),
      };
      return perform(context, request, options);
    }),
  );
}
