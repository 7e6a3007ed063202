// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Context, Runner } from '../lib/context.ts';
import { CliError } from '../lib/exit-codes.ts';
import { parseCount } from './transfers.ts';

interface FileOption {
  file?: string;
}

interface AddOptions extends FileOption {
  scope: string[];
  device?: string[];
  peer?: string[];
  transfersInFlight?: number;
  bytesPerSecond?: string;
}

const collect = (text: string, before: string[] = []) => [...before, text];

export function token(program: Command, run: Runner): void {
  const group = program
    .command('token')
    .description("make, list and remove tokens, in the daemon's tokens file on this host");
  const command = (name: string, description: string) =>
    group
      .command(name)
      .description(description)
      .option('--file <path>', 'the tokens file; DMAD_TOKENS_FILE if absent');

  command('add', 'make a token and print its secret, once')
    .argument('<name>', 'of the token')
    .requiredOption(
      '--scope <scope>',
      'such as transfers:read; may be given several times',
      collect,
    )
    .option('--device <device>', 'NAME:ro, NAME:rw or NAME:rw:OFFSET+SIZE; all if absent', collect)
    .option('--peer <peer>', 'a peer to replicate from; all if absent', collect)
    .option('--transfers-in-flight <count>', 'at most so many at a time', parseCount)
    .option('--bytes-per-second <size>', 'such as 100MiB')
    .action(
      run(async (context: Context, name: string, options: AddOptions) => {
        const { addToken } = await load();
        const path = fileOf(options, context);
        const {
          scope: scopes,
          device: devices,
          peer: peers,
          transfersInFlight,
          bytesPerSecond,
        } = options;
        const secret = inFile(() =>
          addToken(path, {
            ...{ name, scopes, devices, peers, bytesPerSecond },
            transfersInFlight: transfersInFlight?.toString(),
          }),
        );
        context.result({ name, secret, file: path }, secret);
        context.say(
          'This is the secret; nobody can show it again. SIGHUP makes the daemon read it.',
        );
        return undefined;
      }),
    );

  command('list', 'list names, scopes, devices, peers and limits').action(
    run(async (context: Context, options: FileOption) => {
      const { listTokens, readTokens } = await load();
      const path = fileOf(options, context);
      const tokens = inFile(() => readTokens(path));
      context.result({ tokens }, inFile(() => listTokens(path)).join('\n'));
      return undefined;
    }),
  );

  command('remove', 'remove a token')
    .argument('<name>', 'of the token')
    .action(
      run(async (context: Context, name: string, options: FileOption) => {
        const { hasToken, removeToken } = await load();
        const path = fileOf(options, context);
        if (!inFile(() => hasToken(path, name))) {
          throw new CliError('not_found', `${path} has no token ${name}`);
        }
        inFile(() => removeToken(path, name));
        context.result({ name, file: path }, '');
        return undefined;
      }),
    );
}

/** Loaded when it is needed: it brings YAML and the daemon's schemas along. */
function load() {
  return import('../../token/commands.ts');
}

function fileOf({ file }: FileOption, { env }: Context): string {
  const path = file ?? env.DMAD_TOKENS_FILE;
  if (path) return path;
  throw new CliError('usage', 'name the tokens file: --file PATH, or DMAD_TOKENS_FILE');
}

/** What is wrong with the file, or with the token that is to go into it. */
function inFile<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { name, message } = error as Error;
    // The class itself is loaded only with load().
    if (name === 'InvalidToken') throw new CliError('usage', message);
    throw new CliError(/somebody else is at it/.test(message) ? 'busy' : 'configuration', message);
  }
}
