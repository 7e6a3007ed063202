// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Device } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { humanBytes, printable, table } from '../lib/format.ts';

export function devices(program: Command, run: Runner): void {
  program
    .command('devices')
    .description('list the devices')
    .action(
      run(async (context: Context) => {
        const client = await context.client();
        const all = await client.listDevices({ signal: context.signal });
        const rows = all.map((device) => [
          ...[nameOf(device), device.kind, humanBytes(device.size), device.state],
          device.persistence_domain,
          device.numa_node === null ? '–' : String(device.numa_node),
          String(device.bad_blocks.length),
          printable(device.path),
        ]);
        const heads = ['NAME', 'KIND', 'SIZE', 'STATE', 'PERSISTENCE', 'NODE', 'BAD', 'PATH'];
        context.result({ devices: all }, table(heads, rows));
        return undefined;
      }),
    );
}

/** In a fleet a device is named with its host, as other commands take it. */
export function nameOf(device: Device & { host?: string }): string {
  return device.host === undefined ? device.name : `${device.host}/${device.name}`;
}
