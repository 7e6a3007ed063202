// SPDX-License-Identifier: Apache-2.0
import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command as the shells see it: the words that lead to it, and what may follow. */
interface Node {
  path: string[];
  commands: readonly Command[];
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

function wordsOf({ commands, options }: Node): string {
  return [...commands.map((command) => command.name()), ...options.map((option) => option.long)]
    .filter((word) => word != null)
    .join(' ');
}

/** Options with a list of values: completed once for all commands, where they mean the same. */
function choicesOf(program: Command): Map<string, readonly string[]> {
  const choices = new Map<string, readonly string[]>();
  for (const { options } of walk(program)) {
    for (const { long, argChoices } of options) {
      if (long != null && argChoices !== undefined) choices.set(long, argChoices);
    }
  }
  return choices;
}

function bash(program: Command): string {
  const name = program.name();
  const cases = walk(program).map((node) => {
    return `    "${node.path.join(' ')}") words="${wordsOf(node)}" ;;`;
  });
  const values = [...choicesOf(program)].map(([option, choices]) => {
    return `    ${option}) COMPREPLY=($(compgen -W "${choices.join(' ')}" -- "$current")); return ;;`;
  });
  const groups = walk(program)
    .filter(({ path, commands }) => path.length > 0 && commands.length > 0)
    .map(({ path }) => path.join(' '));
  return `# bash completion of ${name}; made by "${name} completion bash"
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  local path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) continue ;; esac
    if [ -z "$path" ]; then path="$word"
    else case "$path" in ${groups.map((group) => `"${group}"`).join(' | ')}) path="$path $word" ;; esac
    fi
  done
  case "$previous" in
${values.join('\n')}
    --token-file | --ca | --cert | --key | --file) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$path" in put | get) COMPREPLY+=($(compgen -f -- "$current")) ;; esac
}
complete -o filenames -F _${name} ${name}
`;
}

function zsh(program: Command): string {
  const name = program.name();
  return `#compdef ${name}
# zsh completion of ${name}; made by "${name} completion zsh"
autoload -U +X bashcompinit && bashcompinit
${bash(program).split('\n').slice(1).join('\n')}`;
}

function fish(program: Command): string {
  const name = program.name();
  const lines = [`# fish completion of ${name}; made by "${name} completion fish"`];
  lines.push(`complete -c ${name} -f`);
  for (const { path, commands, options } of walk(program)) {
    const at =
      path.length === 0 ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.at(-1)}`;
    for (const command of commands) {
      lines.push(
        `complete -c ${name} -n '${at}' -a ${command.name()} -d ${quoted(command.description())}`,
      );
    }
    if (path.length > 0 && commands.length > 0) continue;
    for (const { long, description, argChoices, required } of options) {
      if (long == null) continue;
      const values =
        argChoices === undefined ? (required ? ' -r' : '') : ` -x -a '${argChoices.join(' ')}'`;
      lines.push(
        `complete -c ${name} -n '${at}' -l ${long.slice(2)}${values} -d ${quoted(description)}`,
      );
    }
  }
  lines.push(`complete -c ${name} -n '__fish_seen_subcommand_from put get' -F`);
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
