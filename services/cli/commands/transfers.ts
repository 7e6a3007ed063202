// SPDX-License-Identifier: Apache-2.0
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TransferList, TransferListQuery } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { devicesOf } from '../lib/follow.ts';
import { humanBytes, printable, table } from '../lib/format.ts';

interface ListOptions {
  status?: string;
  operation?: 'copy' | 'fill' | 'compare';
  device?: string;
  engine?: 'dma' | 'cpu';
  label?: string[];
  after?: string;
  before?: string;
  limit: number;
}

const PAGE = 1000;

export function transfers(program: Command, run: Runner): void {
  program
    .command('transfers')
    .description('list transfers, newest first')
    .option('--status <list>', 'such as queued,running')
    .addOption(
      new Option('--operation <operation>', 'only these').choices(['copy', 'fill', 'compare']),
    )
    .option('--device <name>', 'as source or destination')
    .option('--engine <engine>', 'dma or cpu')
    .option(
      '--label <key:value>',
      'all that are given must match',
      (text, before: string[] = []) => [...before, text.replace(/^([^:=]+)=/, '$1:')],
    )
    .option('--after <time>', 'accepted at that time or later, such as 2026-11-27T08:30:00Z')
    .option('--before <time>', 'accepted before that time')
    .option('--limit <count>', 'at most so many', parseCount, 50)
    .action(
      run(async (context: Context, options: ListOptions) => {
        const { status, operation, device, engine, label, after, before, limit } = options;
        const client = await context.client();
        const query: TransferListQuery = {
          ...(status !== undefined && { status }),
          ...(operation !== undefined && { operation }),
          ...(device !== undefined && { device_name: device }),
          ...(engine !== undefined && { engine }),
          ...(label !== undefined && { label }),
          ...(after !== undefined && { created_after: after }),
          ...(before !== undefined && { created_before: before }),
          ...{ view: 'basic', page_size: String(Math.min(limit, PAGE)) },
        };
        const found: TransferList['transfers'] = [];
        for await (const transfer of client.allTransfers(query, { signal: context.signal })) {
          found.push(transfer);
          if (found.length === limit) break;
        }
        context.result({ transfers: found }, listOf(found));
        return undefined;
      }),
    );
}

export function listOf(transfers: TransferList['transfers']): string {
  const rows = transfers.map((transfer) => [
    ...[transfer.id, transfer.status, transfer.operation, humanBytes(transfer.size)],
    `${Math.floor(transfer.progress * 100)}%`,
    ...[transfer.engine ?? '–', [...new Set(devicesOf(transfer))].join(' ')],
    transfer.created_at,
    printable(transfer.error?.code ?? ''),
  ]);
  const heads = ['ID', 'STATUS', 'WHAT', 'SIZE', 'DONE', 'BY', 'DEVICES', 'ACCEPTED', 'ERROR'];
  return table(heads, rows);
}

export function parseCount(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is no count: write a whole number, 1 or more.`);
}
