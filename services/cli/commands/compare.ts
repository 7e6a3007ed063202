// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Context, Runner } from '../lib/context.ts';
import { humanBytes } from '../lib/format.ts';
import { type DeviceRange, parseRange, parseSizedRange, type SizedRange } from '../lib/ranges.ts';
import { twoRanges } from '../lib/two-ranges.ts';
import {
  addTransferOptions,
  perform,
  requestOf,
  type TransferOptions,
} from './transfer-options.ts';

export function compare(program: Command, run: Runner): void {
  const command = program
    .command('compare')
    .description('compare two ranges, up to the first byte that differs; exit code 1 if one does')
    .argument('<first>', 'such as dax0.0:0+32MiB', parseSizedRange)
    .argument('<second>', 'such as dax1.0:1MiB', parseRange);
  addTransferOptions(command).action(
    run((context: Context, first: SizedRange, second: DeviceRange, options: TransferOptions) => {
      const request = {
        ...{ operation: 'compare' as const, ...twoRanges(first, second) },
        ...requestOf(options),
      };
      return perform(context, request, options, (transfer) => {
        const { equal, first_difference } = transfer.comparison ?? {
          ...{ equal: false, first_difference: null },
        };
        const where =
          first_difference === null
            ? `the same ${humanBytes(transfer.size)}`
            : `they differ: first at ${first.device}:${first_difference.src_offset}, ` +
              `${second.device}:${first_difference.dst_offset}`;
        context.result({ equal, first_difference, transfer }, where);
        return equal ? undefined : 'failed';
      });
    }),
  );
}
