// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { TransferPatch } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError } from '../lib/exit-codes.ts';
import { sentenceOf } from '../lib/follow.ts';
import { humanSeconds } from '../lib/format.ts';
import { parseDuration, parseLabel } from '../lib/ranges.ts';
import { ID_ARGUMENT, wholeId } from '../lib/transfer-id.ts';
import { collect, priorityOption } from './transfer-options.ts';

interface ChangeOptions {
  priority?: 'high' | 'normal' | 'low';
  /** Milliseconds. */
  timeout?: number | 'none';
  label?: Record<string, string>;
  removeLabel?: string[];
}

export function change(program: Command, run: Runner): void {
  program
    .command('change')
    .description('change the priority, time limit or labels of a transfer that is not over')
    .argument('<id>', ID_ARGUMENT)
    .addOption(priorityOption())
    .option(
      '--timeout <time>',
      'fail it if it is not over by then, from its acceptance on, such as 30s; none: no limit',
      (text) => (text === 'none' ? text : parseDuration(text)),
    )
    .option('--label <key=value>', 'add it; may be given several times', parseLabel)
    .option('--remove-label <key>', 'may be given several times', collect)
    .action(
      run(async (context: Context, id: string, options: ChangeOptions) => {
        const patch = patchOf(options);
        const { signal } = context;
        const client = await context.client();
        const whole = await wholeId(client, id, signal);
        const transfer = await client.changeTransfer(whole, patch, { signal });
        const { priority, timeout_ms } = transfer;
        const limit =
          timeout_ms === null ? 'no time limit' : `${humanSeconds(timeout_ms / 1000)} at most`;
        context.result({ transfer }, `${sentenceOf(transfer)}, priority ${priority}, ${limit}`);
        return undefined;
      }),
    );
}

/** @throws CliError if nothing is to change */
function patchOf({ priority, timeout, label, removeLabel = [] }: ChangeOptions): TransferPatch {
  const removed = Object.fromEntries(removeLabel.map((key) => [key, null]));
  const labels = { ...removed, ...label };
  const patch = {
    ...(priority !== undefined && { priority }),
    ...(timeout !== undefined && { timeout_ms: timeout === 'none' ? null : timeout }),
    ...(Object.keys(labels).length > 0 && { labels }),
  };
  if (Object.keys(patch).length > 0) return patch;
  throw new CliError('usage', 'say what to change: --priority, --timeout, --label, --remove-label');
}
