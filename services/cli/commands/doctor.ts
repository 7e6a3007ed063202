// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import { examine } from '../doctor/doctor.ts';
import type { Level } from '../doctor/finding.ts';
import { realHost } from '../doctor/host.ts';
import type { Context, Runner } from '../lib/context.ts';
import { printable } from '../lib/format.ts';

const COLORS = { ok: 'green', warning: 'yellow', problem: 'red', unknown: 'dim' } as const;

export function doctor(program: Command, run: Runner): void {
  program
    .command('doctor')
    .description('explain this host: devices, channels, module, daemon; changes nothing')
    .action(
      run(async (context: Context) => {
        const findings = await examine({
          host: realHost(),
          client: () => context.client(),
          url: context.options.url,
          env: context.env,
        });
        const count = (level: Level) => findings.filter((each) => each.level === level).length;
        const summary = {
          ...{ ok: count('ok'), warning: count('warning') },
          ...{ problem: count('problem'), unknown: count('unknown') },
        };
        const lines = findings.map(({ level, subject, message, remedy }) => {
          const mark = context.terminal.paint(level.padEnd(8), COLORS[level], 'stdout');
          const what = `${mark} ${subject}: ${printable(message)}`;
          return remedy === undefined ? what : `${what}\n${' '.repeat(9)}→ ${remedy}`;
        });
        context.result({ findings, summary }, lines.join('\n'));
        return summary.problem === 0 ? undefined : 'failed';
      }),
    );
}
