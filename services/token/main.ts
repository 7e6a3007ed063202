// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { addToken, listTokens, removeToken } from './commands.ts';

const USAGE = `usage: npm run token -- COMMAND [--file PATH]

  add NAME --scope SCOPE…        makes a token and prints its secret, once
      --device NAME:ro|rw        what it may touch; every device where absent
      --device NAME:ro|rw:OFFSET+SIZE
      --peer NAME                which peers it may replicate from; every one where absent
      --transfers-in-flight N    at most so many transfers that are not over
      --bytes-per-second SIZE    such as 100MiB
  list                           names, scopes, devices, peers and limits
  remove NAME

SCOPE is transfers:read, transfers:write, transfers:all, content:read, content:write or metrics:read; --scope,
--device and --peer may be given several times. PATH defaults to DMAD_TOKENS_FILE. A daemon that runs reads the
file again on SIGHUP.
`;

function main(): void {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      file: { type: 'string', default: process.env.DMAD_TOKENS_FILE ?? '' },
      scope: { type: 'string', multiple: true, default: [] },
      device: { type: 'string', multiple: true },
      peer: { type: 'string', multiple: true },
      'transfers-in-flight': { type: 'string' },
      'bytes-per-second': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [command, name, ...more] = positionals;
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const named = name !== undefined && more.length === 0;
  if (values.file === '') throw new Error('name the tokens file: --file PATH, or DMAD_TOKENS_FILE');
  if (command === 'add' && named) {
    if (values.scope.length === 0)
      throw new Error('add needs scopes, such as --scope transfers:read');
    const secret = addToken(values.file, {
      name,
      scopes: values.scope,
      devices: values.device,
      peers: values.peer,
      transfersInFlight: values['transfers-in-flight'],
      bytesPerSecond: values['bytes-per-second'],
    });
    process.stdout.write(`${secret}\n`);
    process.stderr.write('This is the secret; nobody can show it again.\n');
  } else if (command === 'list' && name === undefined) {
    for (const line of listTokens(values.file)) process.stdout.write(`${line}\n`);
  } else if (command === 'remove' && named) {
    removeToken(values.file, name);
  } else {
    const known = ['add', 'list', 'remove'].includes(command ?? '');
    const why = known
      ? `${command} takes ${command === 'list' ? 'no' : 'one'} name`
      : 'that is no command';
    throw new Error(`${why}\n\n${USAGE}`);
  }
}

try {
  main();
} catch (error) {
  process.stderr.write(`token: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
