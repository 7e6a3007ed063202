// SPDX-License-Identifier: Apache-2.0
import { DmadError, type Transfer } from '../../client/node.ts';

/** What the process ends with: scripts rely on these numbers, so none ever changes its meaning. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  not_found: 3,
  access: 4,
  retry: 5,
  unreachable: 69,
  busy: 75,
  configuration: 78,
  interrupted: 130,
} as const;

export type ExitName = keyof typeof EXIT;

export const EXIT_MEANINGS: Record<ExitName, string> = {
  done: 'done',
  failed:
    'failed: the transfer or replication, or "compare" found a difference, or "doctor" a problem',
  usage: 'the command line, or what it asks for, is not valid',
  not_found: 'no such transfer, replication, device, host, peer or token',
  access: 'refused: the token is missing, wrong, or lacks the right',
  retry: 'the daemon cannot take it now: try again later',
  unreachable: 'no daemon answers there',
  busy: 'somebody else is changing the same file',
  configuration: 'a file or setting of dmactl is not valid, such as the mode of the token file',
  interrupted: 'ended by Ctrl-C',
};

/** An error of dmactl itself, or one whose exit code is certain. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exit: ExitName;
  /** What it is about. */
  readonly transfers: readonly Transfer[];

  constructor(exit: ExitName, message: string, transfers: readonly Transfer[] = []) {
    super(message);
    this.exit = exit;
    this.transfers = transfers;
  }
}

/** How put and get end by Ctrl-C. */
export function resumable(): CliError {
  const message = 'interrupted: what was written stays, and --resume goes on from there';
  return new CliError('interrupted', message);
}

/** Problems that say: what was asked for cannot be meant. */
const USAGE = [400, 405, 406, 411, 413, 415, 416, 417, 431];
const UNKNOWN_CODES = ['unknown_device', 'unknown_host', 'unknown_peer', 'unknown_transfer'];
const USAGE_CODES = ['out_of_range', 'overlapping_ranges', 'idempotency_key_reused'];

export function exitNameOf(error: unknown): ExitName {
  if (error instanceof CliError) return error.exit;
  if (!(error instanceof DmadError)) return 'failed';
  const { code, status, transfer, replication } = error;
  if (code === 'unreachable' || code === 'deadline_exceeded' || code === 'unexpected_answer') {
    return 'unreachable';
  }
  // What was taken and ended has failed, whatever it met.
  if (transfer !== undefined || replication !== undefined) return 'failed';
  if (status === 404 || UNKNOWN_CODES.includes(code)) return 'not_found';
  if (status === 401 || status === 403 || status === 421) return 'access';
  if (status === 429 || status === 503 || status === 507 || status === 408) return 'retry';
  if (USAGE.includes(status) || USAGE_CODES.includes(code)) return 'usage';
  return 'failed';
}
