// SPDX-License-Identifier: Apache-2.0
import { type Command, CommanderError } from 'commander';
import { makeRunner, nameOf, reportError } from './lib/context.ts';
import { CliError, EXIT } from './lib/exit-codes.ts';
import { Interrupts } from './lib/interrupts.ts';
import { Terminal } from './lib/terminal.ts';
import { buildProgram } from './program.ts';

const { env, argv } = process;
const terminal = new Terminal(process, env);
const run = makeRunner({
  ...{ terminal, env, interrupts: new Interrupts() },
  // What is still open, such as standard input, keeps nobody waiting.
  ended: (code) => {
    process.exitCode = code;
  },
});
const json = argv.includes('--json');
const program = buildProgram(run);
/** The command that cannot make sense of its arguments. */
let misused = program;
prepare(program);

/** Usage errors end as all others do, instead of in commander. */
function prepare(command: Command): void {
  const misuse = (error: CommanderError) => {
    misused = command;
    throw error;
  };
  command.exitOverride(misuse).configureOutput({
    writeOut: (text) => terminal.print(text),
    writeErr: (text) =>
      json ? undefined : terminal.err(text.replace(/^error: .*/s, (it) => `dmactl: ${plain(it)}`)),
  });
  for (const each of command.commands) prepare(each);
}

try {
  await program.parseAsync(argv);
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help and version end so too.
  if (error.exitCode !== 0) {
    if (json) reportError(terminal, nameOf(misused), new CliError('usage', messageOf(error)), true);
    process.exitCode = EXIT.usage;
  }
}
process.exit();

function messageOf({ code, message }: CommanderError): string {
  if (code !== 'commander.help') return plain(message);
  const called = `dmactl ${nameOf(misused)}`.trim();
  return `name a command: "${called} --help" lists them`;
}

/** Without what commander says before a message that names the value itself. */
function plain(text: string): string {
  return text
    .replace(/^error: /, '')
    .replace(/^command-argument value '.*' is invalid for argument '([^']+)'\. (?=")/s, '$1: ')
    .replace(/^option '(?:-\w, )?(--[\w-]+)[^']*' argument '.*' is invalid\. (?=")/s, '$1: ');
}
