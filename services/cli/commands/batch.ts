// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import type { Command } from 'commander';
import type { BatchedTransferRequest } from '../../client/node.ts';
import { readBatch } from '../lib/batch-file.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError } from '../lib/exit-codes.ts';
import { fileErrorText } from '../lib/file-error.ts';
import { runBatch } from '../lib/follow.ts';
import { humanBytes } from '../lib/format.ts';
import { listOf } from './transfers.ts';

interface BatchOptions {
  detach?: boolean;
  dryRun?: boolean;
}

export function batch(program: Command, run: Runner): void {
  program
    .command('batch')
    .description('start up to 1000 transfers together, or none; exit code 1 unless all succeeded')
    .argument(
      '<file>',
      'requests as POST /transfers takes them: a JSON array, or one a line; - for standard input',
    )
    .option('--detach', 'start them, print their ids and leave them')
    .option('--dry-run', 'show what would be done, and do nothing')
    .action(
      run(async (context: Context, path: string, options: BatchOptions) => {
        const requests = readBatch(
          await read(context, path),
          path === '-' ? 'standard input' : path,
        );
        if (options.dryRun) return plan(context, requests);
        if (options.detach) return detach(context, requests);
        const transfers = await runBatch(context, requests);
        context.result({ transfers }, listOf(transfers));
        return transfers.every(({ status }) => status === 'succeeded') ? undefined : 'failed';
      }),
    );
}

async function plan(context: Context, requests: BatchedTransferRequest[]): Promise<undefined> {
  const client = await context.client();
  const plans = await client.planTransfers(requests, { signal: context.signal });
  const bytes = plans.reduce((sum, each) => sum + each.bytes, 0);
  const text = `dry run: ${plans.length} transfers, ${humanBytes(bytes)}`;
  context.result({ plans }, text);
}

async function detach(context: Context, requests: BatchedTransferRequest[]): Promise<undefined> {
  const client = await context.client();
  const transfers = await client.createTransfers(requests, { signal: context.signal });
  context.result({ transfers }, transfers.map(({ id }) => id).join('\n'));
}

async function read({ terminal, signal }: Context, path: string): Promise<string> {
  try {
    if (path !== '-') return await readFile(path, { encoding: 'utf8', signal });
    const chunks: Buffer[] = [];
    for await (const chunk of addAbortSignal(signal, terminal.stdin)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new CliError('usage', fileErrorText(error));
  }
}
