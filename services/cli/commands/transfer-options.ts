// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from 'commander';
import type { Transfer, TransferRequest } from '../../client/node.ts';
import type { Context } from '../lib/context.ts';
import type { ExitName } from '../lib/exit-codes.ts';
import { detachTransfer, runTransfer, sentenceOf } from '../lib/follow.ts';
import { humanBytes } from '../lib/format.ts';
import { parseDuration, parseLabel } from '../lib/ranges.ts';

/** What every command takes that starts a transfer. */
export interface TransferOptions {
  engine?: 'auto' | 'dma' | 'cpu';
  priority?: 'high' | 'normal' | 'low';
  label?: Record<string, string>;
  timeout?: number;
  dependsOn?: string[];
  detach?: boolean;
  dryRun?: boolean;
}

/** What those take too that write. */
export interface WriteOptions extends TransferOptions {
  verify?: boolean;
  durability?: 'flush' | 'none';
}

export function addTransferOptions(command: Command): Command {
  return command
    .addOption(new Option('--engine <engine>', 'what copies').choices(['auto', 'dma', 'cpu']))
    .addOption(priorityOption())
    .option('--label <key=value>', 'to find it by; may be given several times', parseLabel)
    .option('--timeout <time>', 'fail it if it is not over by then, such as 30s', parseDuration)
    .option(
      '--depends-on <id>',
      'start it once that transfer has succeeded; may be given several times',
      collect,
    )
    .option('--detach', 'start it, print its id and leave it')
    .option('--dry-run', 'show what would be done, and do nothing');
}

export function priorityOption(): Option {
  const choices = ['high', 'normal', 'low'];
  return new Option('--priority <priority>', 'before or behind others').choices(choices);
}

/** Collects what an option that may be given several times has each time. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

export function addWriteOptions(command: Command): Command {
  return addTransferOptions(
    command
      .option('--verify', 'compare CRC-32Cs when it is written')
      .addOption(
        new Option(
          '--durability <durability>',
          'flush: persistent when it is done (default)',
        ).choices(['flush', 'none']),
      ),
  );
}

export function requestOf(options: WriteOptions): Partial<TransferRequest> {
  const { engine, priority, label, timeout, dependsOn, durability, verify } = options;
  return {
    ...(engine !== undefined && { engine }),
    ...(priority !== undefined && { priority }),
    ...(label !== undefined && { labels: label }),
    ...(timeout !== undefined && { timeout_ms: timeout }),
    ...(dependsOn !== undefined && { depends_on: dependsOn }),
    ...(durability !== undefined && { durability }),
    ...(verify === true && { verify: 'crc32c' as const }),
  };
}

/** Plans a transfer, starts it, or runs it to its end, as the options say. */
export async function perform(
  context: Context,
  request: TransferRequest,
  { detach, dryRun }: TransferOptions,
  finished: (transfer: Transfer) => ExitName | undefined = (transfer) => {
    context.result({ transfer }, sentenceOf(transfer));
    return undefined;
  },
): Promise<ExitName | undefined> {
  if (dryRun) {
    const client = await context.client();
    const plan = await client.planTransfer(request, { signal: context.signal });
    const pieces = plan.segments.length === 1 ? '1 piece' : `${plan.segments.length} pieces`;
    const text =
      `dry run: ${request.operation ?? 'copy'} of ${humanBytes(plan.bytes)} in ${pieces} ` +
      `by ${plan.engine ?? 'replication'}: ${plan.engine_reason}`;
    context.result({ plan }, text);
    return undefined;
  }
  if (detach) {
    const transfer = await detachTransfer(context, request);
    context.result({ transfer }, transfer.id);
    return undefined;
  }
  return finished(await runTransfer(context, request));
}
