// SPDX-License-Identifier: Apache-2.0

import { DAEMON_VERSION as VERSION } from '../base/version.ts';
import { outputSchema } from './json.ts';
import { commandsTable, exitCodesTable, manualPage } from './lib/manual.ts';
import { buildProgram } from './program.ts';

const program = buildProgram(() => async () => {});

/** Files that follow from the command tree, from the project's root: what they have been, to what they must be. */
export const generatedFiles: Record<string, (before: string) => string> = {
  'services/cli/dmactl.1': () => manualPage(program, VERSION),
  'openapi/dmactl.schema.json': () => `${JSON.stringify(outputSchema(), null, 2)}\n`,
  'README.md': (before) =>
    replaceSection(
      replaceSection(before, 'commands', commandsTable(program)),
      'exit codes',
      exitCodesTable(),
    ),
};

/** What stands between two comments in Markdown. */
function replaceSection(text: string, name: string, content: string): string {
  const begin = `<!-- dmactl ${name}: npm run manual -->`;
  const end = `<!-- end of dmactl ${name} -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`README.md has no ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
}
