// SPDX-License-Identifier: Apache-2.0
import type { Argument, Command, Option } from 'commander';
import { DEFAULT_SOCKET, DEFAULT_URL } from './connection.ts';
import { nameOf } from './context.ts';
import { EXIT, EXIT_MEANINGS, type ExitName } from './exit-codes.ts';

/** The commands that do something, in the order of the help: "token add", but not "token". */
export function leavesOf(program: Command): Command[] {
  return program.commands.flatMap((command) =>
    command.commands.length === 0 ? [command] : leavesOf(command),
  );
}

/** "put [--resume] <file> <destination>" without the options. */
export function usageOf(command: Command): string {
  return [nameOf(command), ...command.registeredArguments.map(argumentText)].join(' ');
}

function argumentText(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

/** The commands as README has them. */
export function commandsTable(program: Command): string {
  const rows = leavesOf(program).map(
    (command) => `| \`${usageOf(command).replaceAll('|', '\\|')}\` | ${command.description()} |`,
  );
  return ['| command | |', '|---|---|', ...rows].join('\n');
}

/** The exit codes as README has them. */
export function exitCodesTable(): string {
  const rows = names().map((name) => `| ${EXIT[name]} | ${EXIT_MEANINGS[name]} |`);
  return ['| exit code | |', '|---|---|', ...rows].join('\n');
}

function names(): ExitName[] {
  return Object.keys(EXIT) as ExitName[];
}

/** dmactl(1), in man(7)'s macros. */
export function manualPage(program: Command, version: string): string {
  const lines = [
    '.\\" Made from the command tree by "npm run manual"; do not edit.',
    `.TH DMACTL 1 "" "dmad ${version}" "User Commands"`,
    '.SH NAME',
    `dmactl \\- ${escaped(program.description())}`,
    '.SH SYNOPSIS',
    ...leavesOf(program).flatMap((command) => [`.B dmactl ${escaped(usageOf(command))}`, '.br']),
    '.SH DESCRIPTION',
    'dmactl drives dmad, which copies bytes inside and across device-dax memory.',
    'A range is DEVICE:OFFSET+SIZE, or DEVICE:OFFSET\\-END, where END is the first byte behind it.',
    'Offsets and sizes are numbers of bytes: 4096, 0x1000, 4KiB, 32MiB, 1GiB.',
    '.PP',
    'On a terminal, standard error has a line that shows how a transfer gets on; else a line each 10 s.',
    'Ctrl\\-C cancels the transfer that the command started; pressed twice, it leaves the transfer',
    'running and prints its id.',
    '.SH OPTIONS',
    'For every command:',
    ...program.options.flatMap(optionLines),
    '.SH COMMANDS',
    ...leavesOf(program).flatMap((command) => [
      `.SS ${escaped(usageOf(command))}`,
      `${escaped(sentence(command.description()))}`,
      ...command.registeredArguments.flatMap((argument) => [
        ...['.TP', `.I ${escaped(argumentText(argument))}`, escaped(argument.description)],
      ]),
      ...command.options.flatMap(optionLines),
    ]),
    '.SH JSON',
    'With \\-\\-json the result is one object on standard output, or one a line for',
    '.B watch',
    'and',
    '.BR top ,',
    'with "schema_version" and "command"; if the command failed, it has "error" with "code",',
    '"message", "status" and "exit_code". Members may be added at any time.',
    '.SH EXIT STATUS',
    ...names().flatMap((name) => ['.TP', `.B ${EXIT[name]}`, escaped(EXIT_MEANINGS[name])]),
    '.SH ENVIRONMENT',
    ...['.TP', '.B DMAD_URL', 'Where the daemon is, unless \\-\\-url says so: http://HOST:PORT,'],
    'https://HOST:PORT or unix:/PATH. Without either it is the socket',
    `${DEFAULT_SOCKET} if a daemon listens there, else ${DEFAULT_URL}.`,
    ...[
      '.TP',
      '.B DMAD_TOKEN',
      "The token's secret, unless \\-\\-token\\-file names a file that has it.",
    ],
    ...[
      '.TP',
      '.B DMAD_TOKENS_FILE',
      'The file that "dmactl token" changes, unless \\-\\-file says so.',
    ],
    ...['.TP', '.B NO_COLOR', 'No colours, if it is set.'],
    '.SH FILES',
    ...[
      '.TP',
      '.I ~/.config/dmad/token',
      "The token's secret. It must be readable by its owner alone.",
    ],
    ...['.TP', `.I ${DEFAULT_SOCKET}`, "The daemon's socket."],
  ];
  return `${lines.join('\n')}\n`;
}

function optionLines({ flags, description, argChoices }: Option): string[] {
  const choices = argChoices === undefined ? '' : ` (${argChoices.join(', ')})`;
  return ['.TP', `.B ${escaped(flags)}`, escaped(description + choices)];
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** A leading dot or quote would be a request. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replace(/^([.'])/, '\\&$1');
}
