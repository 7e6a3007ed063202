// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import { isOver, type Transfer } from '../../client/node.ts';
import { type Context, jsonLine, type Runner } from '../lib/context.ts';
import { durabilityOf, placesOf, progressOf, sentenceOf } from '../lib/follow.ts';
import { humanBytes, humanSeconds, printable } from '../lib/format.ts';
import { Progress } from '../lib/progress.ts';
import { ID_ARGUMENT, wholeId } from '../lib/transfer-id.ts';
import { listOf } from './transfers.ts';

export function show(program: Command, run: Runner): void {
  program
    .command('show')
    .description('show a transfer')
    .argument('<id>', ID_ARGUMENT)
    .action(
      run(async (context: Context, id: string) => {
        const client = await context.client();
        const transfer = await client.getTransfer(await wholeId(client, id, context.signal), {
          signal: context.signal,
        });
        context.result({ transfer }, describe(transfer));
        return undefined;
      }),
    );
}

export function cancel(program: Command, run: Runner): void {
  program
    .command('cancel')
    .description('stop a transfer; what is copied stays copied')
    .argument('<id>', ID_ARGUMENT)
    .action(
      run(async (context: Context, id: string) => {
        const client = await context.client();
        const transfer = await client.cancelTransfer(await wholeId(client, id, context.signal), {
          signal: context.signal,
        });
        context.result({ transfer }, sentenceOf(transfer));
        return undefined;
      }),
    );
}

export function wait(program: Command, run: Runner): void {
  program
    .command('wait')
    .description('wait until transfers are over; exit code 1 unless all succeeded')
    .argument('<id...>', ID_ARGUMENT)
    .action(
      run(async (context: Context, ids: string[]) => {
        const client = await context.client();
        const { signal } = context;
        const ended = await Promise.all(
          ids.map(async (id) =>
            client.waitForTransfer(await wholeId(client, id, signal), { signal }),
          ),
        );
        context.result({ transfers: ended }, listOf(ended));
        return ended.every(({ status }) => status === 'succeeded') ? undefined : 'failed';
      }),
    );
}

export function watch(program: Command, run: Runner): void {
  program
    .command('watch')
    .description('follow a transfer to its end, or all transfers until Ctrl-C')
    .argument('[id]', ID_ARGUMENT)
    .action(
      run((context: Context, id: string | undefined) =>
        id === undefined ? watchAll(context) : watchOne(context, id),
      ),
    );
}

async function watchOne(context: Context, id: string) {
  const client = await context.client();
  const { signal, terminal, options } = context;
  const whole = await wholeId(client, id, signal);
  const progress = new Progress(terminal, 'watch', options.quiet === true);
  let last: Transfer | undefined;
  try {
    for await (const { event, transfer } of client.watch(whole, { signal })) {
      if (options.json) terminal.out(`${jsonLine('watch', { event, transfer })}\n`);
      progress.update(progressOf(transfer));
      last = transfer;
    }
  } finally {
    progress.done();
  }
  if (last !== undefined && !options.json) terminal.print(`${sentenceOf(last)}\n`);
  return last?.status === 'succeeded' ? undefined : ('failed' as const);
}

async function watchAll(context: Context): Promise<undefined> {
  const client = await context.client();
  const { signal, terminal, options } = context;
  for await (const { event, transfer } of client.watchAll({}, { signal })) {
    if (options.json) terminal.out(`${jsonLine('watch', { event, transfer })}\n`);
    else if (event === 'status' || isOver(transfer)) {
      terminal.print(`${transfer.id}  ${sentenceOf(transfer)}\n`);
    }
  }
}

function describe(transfer: Transfer): string {
  const { timings, error, labels } = transfer;
  const lines = [
    ['id', transfer.id],
    ['what', `${transfer.operation} of ${humanBytes(transfer.size)} ${placesOf(transfer)}`],
    ['status', `${transfer.status}, ${humanBytes(transfer.bytes_completed)} done`],
    ['engine', `${transfer.engine ?? 'none'}: ${transfer.engine_reason}`],
    ['durability', durabilityOf(transfer)],
    ['priority', transfer.priority],
    ['accepted', transfer.created_at],
    ['started', transfer.started_at ?? '–'],
    ['finished', transfer.finished_at ?? '–'],
    ...Object.entries(timings).map(([name, ns]) => [
      ...[name.replace(/_ns$/, ' time'), humanSeconds(ns / 1e9)],
    ]),
    ...Object.entries(labels).map(([key, value]) => ['label', `${key}=${value}`]),
  ];
  if (transfer.verification !== null) lines.push(['CRC-32C', transfer.verification.dst]);
  if (transfer.comparison !== null) {
    lines.push(['comparison', transfer.comparison.equal ? 'equal' : 'different']);
  }
  if (error !== null) lines.push(['error', `${error.code}: ${error.detail}`]);
  return lines.map(([name = '', value = '']) => `${name.padEnd(12)}${printable(value)}`).join('\n');
}
