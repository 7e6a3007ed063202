// SPDX-License-Identifier: Apache-2.0
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  isOver,
  type Replication,
  type ReplicationRequest,
  replicationError,
} from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError, type ExitName } from '../lib/exit-codes.ts';
import { humanBytes } from '../lib/format.ts';
import { Progress } from '../lib/progress.ts';
import {
  type DeviceRange,
  formatRange,
  parseDuration,
  parseLabel,
  parseRange,
  parseSize,
  parseSizedRange,
  type SizedRange,
} from '../lib/ranges.ts';
import { priorityOption } from './transfer-options.ts';

/** Most that differ in little are over by then, and need no stream of events. */
const FIRST_WAIT_SECONDS = 1;

/** A range of a peer's device. */
interface PeerRange extends SizedRange {
  peer: string;
}

interface ReplicateOptions {
  mode?: 'delta' | 'full';
  blockSize?: number;
  rate?: number;
  priority?: 'high' | 'normal' | 'low';
  label?: Record<string, string>;
  timeout?: number;
  detach?: boolean;
}

export function replicate(program: Command, run: Runner): void {
  program
    .command('replicate')
    .description("make a range equal to one of another host's device, which the daemon reads")
    .argument(
      '<source>',
      'a peer of the daemon and a range, such as hostb:dax0.0:0+1GiB',
      parsePeer,
    )
    .argument('<destination>', 'such as dax1.0:0', parseRange)
    .addOption(
      new Option('--mode <mode>', 'delta: only what differs (default); full: all').choices([
        'delta',
        'full',
      ]),
    )
    .option(
      '--block-size <size>',
      'what is compared and proven at a time; 1MiB if absent',
      parseSize,
    )
    .option('--rate <size>', 'read at most so much a second, such as 10MiB', parseSize)
    .addOption(priorityOption())
    .option('--label <key=value>', 'to find it by; may be given several times', parseLabel)
    .option('--timeout <time>', 'fail it if it is not over by then, such as 30s', parseDuration)
    .option('--detach', 'start it, print its id and leave it')
    .action(
      run((context: Context, from: PeerRange, to: DeviceRange, options: ReplicateOptions) => {
        if (to.size !== undefined && to.size !== from.size) {
          const message = `source and destination differ in size: ${from.size} and ${to.size} bytes`;
          throw new CliError('usage', message);
        }
        return perform(context, requestOf(from, to, options), options.detach === true);
      }),
    );
}

/** Reads PEER:RANGE. */
export function parsePeer(text: string): PeerRange {
  const [, peer = '', range = ''] = /^([^:]+):([^:]+:.+)$/.exec(text) ?? [];
  if (peer !== '') return { ...parseSizedRange(range), peer };
  const example = 'PEER:DEVICE:OFFSET+SIZE, such as hostb:dax0.0:0+1GiB';
  throw new InvalidArgumentError(`"${text}" is no range of a peer: write ${example}.`);
}

function requestOf(
  from: PeerRange,
  to: DeviceRange,
  { mode, blockSize, rate, priority, label, timeout }: ReplicateOptions,
): ReplicationRequest {
  return {
    ...{ peer: from.peer, src_device_name: from.device, src_offset: from.offset },
    ...{ dst_device_name: to.device, dst_offset: to.offset, size: from.size },
    ...(mode !== undefined && { mode }),
    ...(blockSize !== undefined && { block_size: blockSize }),
    ...(rate !== undefined && { bytes_per_second: rate }),
    ...(priority !== undefined && { priority }),
    ...(label !== undefined && { labels: label }),
    ...(timeout !== undefined && { timeout_ms: timeout }),
  };
}

async function perform(
  context: Context,
  request: ReplicationRequest,
  detach: boolean,
): Promise<ExitName | undefined> {
  if (detach) {
    const client = await context.client('daemon');
    const options = { waitSeconds: 0, signal: context.signal };
    const replication = await client.createReplication(request, options);
    context.result({ replication }, replication.id);
    return undefined;
  }
  const replication = await follow(context, request);
  if (replication.status !== 'succeeded') throw replicationError(replication);
  context.result({ replication }, sentenceOf(replication));
  return undefined;
}

/** Starts it and shows how it gets on. Ctrl-C cancels it; a second one leaves it. */
async function follow(context: Context, request: ReplicationRequest): Promise<Replication> {
  const client = await context.client('daemon');
  const leave = new AbortController();
  const { signal } = leave;
  const progress = new Progress(context.terminal, 'replicate', context.options.quiet === true);
  let replication: Replication | undefined;
  let cancelling = false;
  const cancel = (id: string) => {
    cancelling = true;
    // Its events tell if it has already finished, and how.
    client.cancelReplication(id, { signal }).catch(() => {});
  };
  const release = context.interrupts.handle((times) => {
    if (times > 1) return leave.abort(new CliError('interrupted', 'interrupted twice'));
    context.say('cancelling; Ctrl-C again leaves it as it is');
    cancelling = true;
    if (replication !== undefined) cancel(replication.id);
  });
  try {
    const options = { waitSeconds: FIRST_WAIT_SECONDS, signal };
    replication = await client.createReplication(request, options);
    if (cancelling) cancel(replication.id);
    if (!isOver(replication)) {
      for await (const event of client.watchReplication(replication.id, { signal })) {
        replication = event.replication;
        progress.update(progressOf(replication));
      }
    }
    if (!cancelling || replication.status !== 'cancelled') return replication;
    const done = humanBytes(replication.bytes_completed);
    throw new CliError(
      'interrupted',
      `cancelled replication ${replication.id}; ${done} were equal by then`,
    );
  } catch (error) {
    if (!signal.aborted || replication === undefined) throw error;
    if (!context.options.json) context.terminal.out(`${replication.id}\n`);
    throw new CliError('interrupted', `left replication ${replication.id}, which goes on`);
  } finally {
    progress.done();
    release();
  }
}

function progressOf({ status, waiting_for, bytes_completed, size, round, blocks }: Replication) {
  const waits =
    waiting_for?.reason === 'peer' ? `waiting for the peer: ${waiting_for.why}` : status;
  const copied = `${blocks.copied} of ${blocks.total} blocks copied`;
  const note = status === 'running' && waiting_for === null ? copied : waits;
  return {
    bytes: bytes_completed,
    total: size,
    note: round > 1 ? `round ${round}, ${note}` : note,
  };
}

/** One sentence about a finished or unfinished replication. */
export function sentenceOf(replication: Replication): string {
  const { peer, src_device_name, src_offset, dst_device_name, dst_offset, size } = replication;
  const { blocks, durability, status, consistency, bytes_on_wire } = replication;
  const source = formatRange({ device: src_device_name, offset: src_offset, size: undefined });
  const destination = formatRange({ device: dst_device_name, offset: dst_offset, size: undefined });
  const basis = durability.basis === null ? '' : ` (${durability.basis})`;
  return [
    `replication of ${humanBytes(size)} ${peer}:${source} to ${destination}: ${status}`,
    `${blocks.copied} of ${blocks.total} blocks copied, ${humanBytes(bytes_on_wire)} received`,
    consistency,
    ...(status === 'succeeded' ? [`${durability.achieved}${basis}`] : []),
  ].join(', ');
}
