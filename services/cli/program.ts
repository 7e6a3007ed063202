// SPDX-License-Identifier: Apache-2.0
import { Command } from 'commander';
import { DAEMON_VERSION as VERSION } from '../base/version.ts';
import { batch } from './commands/batch.ts';
import { bench } from './commands/bench.ts';
import { change } from './commands/change.ts';
import { checksum } from './commands/checksum.ts';
import { compare } from './commands/compare.ts';
import { completion } from './commands/completion.ts';
import { copy } from './commands/copy.ts';
import { devices } from './commands/devices.ts';
import { doctor } from './commands/doctor.ts';
import { calibrate, engines } from './commands/engines.ts';
import { fill } from './commands/fill.ts';
import { get } from './commands/get.ts';
import { hosts } from './commands/hosts.ts';
import { cancel, show, wait, watch } from './commands/one-transfer.ts';
import { put } from './commands/put.ts';
import { replicate } from './commands/replicate.ts';
import { replications } from './commands/replications.ts';
import { token } from './commands/token.ts';
import { top } from './commands/top.ts';
import { transfers } from './commands/transfers.ts';
import type { Runner } from './lib/context.ts';
import { parseDuration } from './lib/ranges.ts';

/** In the order of the help. */
const COMMANDS = [
  ...[copy, put, get, fill, compare, checksum, batch, replicate],
  ...[devices, engines, transfers, show, change, cancel, wait, watch, top, replications, hosts],
  ...[doctor, bench, calibrate, token, completion],
];

/** The command tree, of which help, manual and completions are made too. */
export function buildProgram(run: Runner): Command {
  const program = new Command('dmactl')
    .description('copy bytes between devices of persistent memory, by the daemon dmad')
    .version(VERSION, '--version')
    .option('--url <url>', 'where the daemon is: http://…, https://… or unix:/PATH')
    .option('--token-file <path>', "a file with the token's secret, mode 0600")
    .option('--ca <path>', "PEM: who may have signed the daemon's certificate")
    .option('--cert <path>', "PEM: this client's certificate")
    .option('--key <path>', 'PEM: its key')
    .option(
      '--retry-for <time>',
      'how long to try again after a lost connection or a refusal; 60s if absent',
      parseDuration,
    )
    .option('--json', 'the result as JSON on standard output')
    .option('--quiet', 'no progress and no messages')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('("dmactl COMMAND --help" says more)');
  for (const define of COMMANDS) define(program, run);
  return program;
}
