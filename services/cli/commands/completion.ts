// SPDX-License-Identifier: Apache-2.0
import { Argument, type Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../lib/completion.ts';
import type { Context, Runner } from '../lib/context.ts';

export function completion(program: Command, run: Runner): void {
  program
    .command('completion')
    .description('print what completes this command line in a shell')
    .addArgument(new Argument('<shell>', 'yours').choices(SHELLS))
    .action(
      run(async (context: Context, shell: Shell) => {
        const script = completionScript(program, shell);
        context.result({ shell, script }, script.trimEnd());
        return undefined;
      }),
    );
}
