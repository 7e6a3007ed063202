// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Context, Runner } from '../lib/context.ts';
import { type DeviceRange, formatRange, parseRange } from '../lib/ranges.ts';

export function checksum(program: Command, run: Runner): void {
  program
    .command('checksum')
    .description('show the CRC-32C of a range, or of all that follows an offset')
    .argument('<range>', 'such as dax0.0:0+32MiB, or dax0.0', parseRange)
    .action(
      run(async (context: Context, range: DeviceRange) => {
        const client = await context.client();
        const { device, offset } = range;
        const size = range.size ?? (await client.getDevice(device)).size - offset;
        const { signal } = context;
        const { crc32c } = await client.checksumContent(device, { offset, size, signal });
        const document = { device_name: device, offset, size, crc32c };
        context.result(document, `${crc32c}  ${formatRange({ device, offset, size })}`);
        return undefined;
      }),
    );
}
