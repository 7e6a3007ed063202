// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Replication, ReplicationListQuery, ReplicationPatch } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError } from '../lib/exit-codes.ts';
import { humanBytes, printable, table } from '../lib/format.ts';
import { parseDuration, parseSize } from '../lib/ranges.ts';
import { sentenceOf } from './replicate.ts';
import { priorityOption } from './transfer-options.ts';
import { parseCount } from './transfers.ts';

const ID = 'the id of a replication';

interface ListOptions {
  status?: string;
  peer?: string;
  device?: string;
  limit: number;
}

interface ChangeOptions {
  rate?: number | 'none';
  priority?: 'high' | 'normal' | 'low';
  timeout?: number | 'none';
}

const orNone =
  (parse: (text: string) => number) =>
  (text: string): number | 'none' =>
    text === 'none' ? text : parse(text);
const orNull = (value: number | 'none') => (value === 'none' ? null : value);

export function replications(program: Command, run: Runner): void {
  const group = program.command('replications').description('see and change replications');
  group
    .command('list')
    .description('list replications, newest first')
    .option('--status <list>', 'such as queued,running')
    .option('--peer <name>', 'of that peer alone')
    .option('--device <name>', 'as source or destination')
    .option('--limit <count>', 'at most so many, up to 1000', parseCount, 50)
    .action(
      run(async (context: Context, { status, peer, device, limit }: ListOptions) => {
        const client = await context.client('daemon');
        const query: ReplicationListQuery = {
          ...(status !== undefined && { status }),
          ...(peer !== undefined && { peer }),
          ...(device !== undefined && { device_name: device }),
          page_size: String(limit),
        };
        const page = await client.listReplications(query, { signal: context.signal });
        context.result({ replications: page.replications }, listOf(page.replications));
        return undefined;
      }),
    );
  group
    .command('show')
    .description('show a replication')
    .argument('<id>', ID)
    .action(
      run(async (context: Context, id: string) => {
        const client = await context.client('daemon');
        const replication = await client.getReplication(id, { signal: context.signal });
        context.result({ replication }, describe(replication));
        return undefined;
      }),
    );
  group
    .command('change')
    .description('change the rate, priority or time limit of a replication that is not over')
    .argument('<id>', ID)
    .option('--rate <size>', 'read at most so much a second; none: no limit', orNone(parseSize))
    .addOption(priorityOption())
    .option('--timeout <time>', 'from its acceptance on; none: no limit', orNone(parseDuration))
    .action(
      run(async (context: Context, id: string, options: ChangeOptions) => {
        const patch = patchOf(options);
        const client = await context.client('daemon');
        const replication = await client.changeReplication(id, patch, { signal: context.signal });
        context.result({ replication }, sentenceOf(replication));
        return undefined;
      }),
    );
  group
    .command('cancel')
    .description('stop a replication; what is copied stays copied')
    .argument('<id>', ID)
    .action(
      run(async (context: Context, id: string) => {
        const client = await context.client('daemon');
        const replication = await client.cancelReplication(id, { signal: context.signal });
        context.result({ replication }, sentenceOf(replication));
        return undefined;
      }),
    );
}

/** @throws CliError if nothing is to change */
function patchOf({ rate, priority, timeout }: ChangeOptions): ReplicationPatch {
  const patch = {
    ...(rate !== undefined && { bytes_per_second: orNull(rate) }),
    ...(priority !== undefined && { priority }),
    ...(timeout !== undefined && { timeout_ms: orNull(timeout) }),
  };
  if (Object.keys(patch).length > 0) return patch;
  throw new CliError('usage', 'say what to change: --rate, --priority, --timeout');
}

function listOf(found: readonly Replication[]): string {
  const rows = found.map((replication) => [
    ...[replication.id, replication.status, replication.consistency, humanBytes(replication.size)],
    `${Math.floor(replication.progress * 100)}%`,
    `${replication.peer}:${replication.src_device_name} ${replication.dst_device_name}`,
    replication.created_at,
    printable(replication.error?.code ?? ''),
  ]);
  const heads = ['ID', 'STATUS', 'BYTES', 'SIZE', 'DONE', 'FROM AND TO', 'ACCEPTED', 'ERROR'];
  return table(heads, rows);
}

function describe(replication: Replication): string {
  const { blocks, error, waiting_for: wait } = replication;
  const lines = [
    ['id', replication.id],
    ['what', sentenceOf(replication)],
    [
      'blocks',
      `${blocks.total}: ${blocks.equal} equal, ${blocks.copied} copied, ${blocks.again} copied again`,
    ],
    ['round', String(replication.round)],
    [
      'rate',
      replication.bytes_per_second === null
        ? 'no limit'
        : `${humanBytes(replication.bytes_per_second)}/s`,
    ],
    ['priority', replication.priority],
    ['accepted', replication.created_at],
    ['started', replication.started_at ?? '–'],
    ['finished', replication.finished_at ?? '–'],
  ];
  if (wait !== null)
    lines.push(['waits for', [wait.reason, wait.since, wait.why].filter(Boolean).join(', ')]);
  if (error !== null) lines.push(['error', `${error.code}: ${error.detail}`]);
  return lines.map(([name = '', value = '']) => `${name.padEnd(12)}${printable(value)}`).join('\n');
}
