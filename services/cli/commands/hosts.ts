// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { FleetHost } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError } from '../lib/exit-codes.ts';
import { fileErrorText } from '../lib/file-error.ts';
import { printable, table } from '../lib/format.ts';

export function hosts(program: Command, run: Runner): void {
  const command = program
    .command('hosts')
    .description("the hosts of a fleet, at the gateway's URL");

  command
    .command('list')
    .description('list them, and how they fare')
    .action(
      run(async (context: Context) => {
        const client = await context.client('gateway');
        const all = await client.listHosts({ signal: context.signal });
        const heads = ['NAME', 'STATE', 'SINCE', 'TRANSFERS', 'DEVICES', 'URL', 'REASON'];
        context.result({ hosts: all }, table(heads, all.map(rowOf)));
        return undefined;
      }),
    );

  command
    .command('add')
    .description('add a host, or change how it is reached')
    .argument('<name>', 'such as hosta')
    .argument('<url>', "of the host's daemon, such as https://hosta:8080")
    .option('--host-ca <path>', "PEM: what signed the daemon's certificate")
    .action(
      run(async (context: Context, name: string, url: string, options: { hostCa?: string }) => {
        const ca = options.hostCa === undefined ? {} : { ca: read(options.hostCa) };
        const client = await context.client('gateway');
        const host = await client.putHost(name, { url, ...ca }, { signal: context.signal });
        context.result({ host }, `${printable(host.name)} is at ${printable(host.url)}`);
        return undefined;
      }),
    );

  command
    .command('remove')
    .description('remove a host; nothing changes on the host itself')
    .argument('<name>', 'such as hosta')
    .option('--abandon', 'though it has transfers that are not over: they end as interrupted')
    .action(
      run(async (context: Context, name: string, { abandon }: { abandon?: boolean }) => {
        const client = await context.client('gateway');
        await client.deleteHost(name, { abandon: abandon === true, signal: context.signal });
        context.result({ name }, `${name} is no host of the fleet any more`);
        return undefined;
      }),
    );
}

function rowOf({ name, state, since, transfers, devices, url, reason }: FleetHost): string[] {
  return [
    ...[printable(name), state, since ?? '–', String(transfers), devices.map(printable).join(' ')],
    ...[printable(url), printable(reason ?? '–')],
  ];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError('configuration', `--host-ca: ${fileErrorText(error)}`);
  }
}
