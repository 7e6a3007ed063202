// SPDX-License-Identifier: Apache-2.0
import type { Command, Option } from 'commander';
import { nameOf } from './context.ts';
import { leavesOf } from './manual.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command as the shells see it: the words that lead to it, and what may follow. */
interface Node {
  path: string[];
  commands: readonly Command[];
  /** What its arguments may be, as far as that is known. */
  values: readonly string[];
  options: readonly Option[];
}

/** Every command, those with subcommands included, the program itself first. */
export function walk(program: Command): Node[] {
  const nodes: Node[] = [];
  const visit = (command: Command, path: string[]) => {
    const shown = command.commands.filter((each) => each.name() !== 'help');
    nodes.push({
      path,
      commands: shown,
      values: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      options: [...command.options, ...globals(program, command)],
    });
    for (const each of shown) visit(each, [...path, each.name()]);
  };
  visit(program, []);
  return nodes;
}

function globals(program: Command, command: Command): readonly Option[] {
  return command === program ? [] : program.options;
}

export function completionScript(program: Command, shell: Shell): string {
  if (shell === 'bash') return bash(program);
  if (shell === 'zsh') return zsh(program);
  return fish(program);
}

interface Word {
  text: string;
  description: string;
}

/** What may follow: subcommands, values of arguments, options. */
function wordsOf({ commands, values, options }: Node): Word[] {
  return [
    ...commands.map((command) => ({ text: command.name(), description: command.description() })),
    ...values.map((text) => ({ text, description: '' })),
    ...options.flatMap(({ long, description }) =>
      long == null ? [] : { text: long, description },
    ),
  ];
}

/** What bash and zsh have in common: the shell's cases, by what is completed. */
interface Cases {
  /** Options with a list of values, and the values. */
  choices: Map<string, readonly string[]>;
  /** Other options that a value follows. */
  valued: string[];
  /** Those of them whose value is a file. */
  files: string[];
  /** Commands that have subcommands. */
  groups: string[];
  /** Commands whose arguments are files, too. */
  filed: string[];
  nodes: Node[];
}

const FILE_VALUE = /<(path|file)>/;

function casesOf(program: Command): Cases {
  const nodes = walk(program);
  const options = nodes.flatMap((node) => node.options);
  const taking = (matches: (option: Option) => boolean) => [
    ...new Set(options.filter(matches).flatMap(({ long }) => long ?? [])),
  ];
  const choices = new Map(
    options.flatMap(({ long, argChoices }) =>
      long != null && argChoices !== undefined ? [[long, argChoices] as const] : [],
    ),
  );
  return {
    choices,
    valued: taking(({ required, long }) => required && !choices.has(long ?? '')),
    files: taking(({ flags }) => FILE_VALUE.test(flags)),
    groups: nodes.flatMap(({ path, commands }) =>
      path.length > 0 && commands.length > 0 ? [path.join(' ')] : [],
    ),
    filed: leavesOf(program).flatMap((command) =>
      command.registeredArguments.some((argument) => argument.name() === 'file')
        ? [nameOf(command)]
        : [],
    ),
    nodes,
  };
}

/** Sets `chosen` to the command that the words before the cursor name, such as "token add". */
function findCommand(words: string, { choices, valued, groups }: Cases): string {
  return `  for word in ${words}; do
    if [ -n "$skip" ]; then skip=""; continue; fi
    case "$word" in
      ${[...choices.keys(), ...valued].join(' | ')}) skip=yes; continue ;;
      -*) continue ;;
    esac
    if [ -z "$chosen" ]; then chosen="$word"
    else case "$chosen" in ${groups.map((group) => `"${group}"`).join(' | ')}) chosen="$chosen $word" ;; esac
    fi
  done`;
}

function bash(program: Command): string {
  const name = program.name();
  const cases = casesOf(program);
  const values = [...cases.choices].map(([option, choices]) => {
    return `    ${option}) COMPREPLY=($(compgen -W "${choices.join(' ')}" -- "$current")); return ;;`;
  });
  const words = cases.nodes.map((node) => {
    return `    "${node.path.join(' ')}") words="${wordsOf(node)
      .map(({ text }) => text)
      .join(' ')}" ;;`;
  });
  return `# bash completion of ${name}; made by "${name} completion bash"
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  local chosen="" words="" word skip=""
${findCommand(`"\${COMP_WORDS[@]:1:COMP_CWORD-1}"`, cases)}
  case "$previous" in
${values.join('\n')}
    ${cases.files.join(' | ')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${cases.valued.join(' | ')}) COMPREPLY=(); return ;;
  esac
  case "$chosen" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$chosen" in ${cases.filed.join(' | ')}) COMPREPLY+=($(compgen -f -- "$current")) ;; esac
}
complete -o filenames -F _${name} ${name}
`;
}

/** Works read by "source", and as the file _dmactl of a directory in $fpath, too. */
function zsh(program: Command): string {
  const name = program.name();
  const cases = casesOf(program);
  const values = [...cases.choices].map(([option, choices]) => {
    return `    ${option}) compadd -- ${choices.join(' ')}; return ;;`;
  });
  const words = cases.nodes.map((node) => {
    const entries = wordsOf(node).map(({ text, description }) =>
      zshQuoted(`${text}:${description}`),
    );
    return `    ${zshQuoted(node.path.join(' '))}) described=(${entries.join(' ')}) ;;`;
  });
  return `#compdef ${name}
# zsh completion of ${name}; made by "${name} completion zsh"
_${name}() {
  local previous="$words[CURRENT-1]" chosen="" word skip=""
  local -a described
${findCommand(`"\${(@)words[2,CURRENT-1]}"`, cases)}
  case "$previous" in
${values.join('\n')}
    ${cases.files.join(' | ')}) _files; return ;;
    ${cases.valued.join(' | ')}) return ;;
  esac
  case "$chosen" in
${words.join('\n')}
  esac
  _describe '${name}' described
  case "$chosen" in ${cases.filed.join(' | ')}) _files ;; esac
}
if [ "$funcstack[1]" = _${name} ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function zshQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fish(program: Command): string {
  const name = program.name();
  const { files, filed } = casesOf(program);
  const lines = [`# fish completion of ${name}; made by "${name} completion fish"`];
  lines.push(`complete -c ${name} -f`);
  for (const { path, commands, values, options } of walk(program)) {
    const at =
      path.length === 0 ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.at(-1)}`;
    for (const command of commands) {
      lines.push(
        `complete -c ${name} -n '${at}' -a ${command.name()} -d ${quoted(command.description())}`,
      );
    }
    if (values.length > 0) lines.push(`complete -c ${name} -n '${at}' -a '${values.join(' ')}'`);
    if (path.length > 0 && commands.length > 0) continue;
    for (const { long, description, argChoices, required } of options) {
      if (long == null) continue;
      let value = required ? ' -x' : '';
      if (files.includes(long)) value = ' -r -F';
      if (argChoices !== undefined) value = ` -x -a '${argChoices.join(' ')}'`;
      lines.push(
        `complete -c ${name} -n '${at}' -l ${long.slice(2)}${value} -d ${quoted(description)}`,
      );
    }
  }
  lines.push(`complete -c ${name} -n '__fish_seen_subcommand_from ${filed.join(' ')}' -F`);
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
