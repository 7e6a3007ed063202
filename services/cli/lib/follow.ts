// SPDX-License-Identifier: Apache-2.0
import {
  type BatchedTransferRequest,
  type ConnectedClient,
  isOver,
  type Transfer,
  type TransferList,
  type TransferRequest,
  transferError,
} from '../../client/node.ts';
import type { Context } from './context.ts';
import { humanBytes, humanSeconds } from './format.ts';
import { Interruption } from './interruption.ts';
import { Progress } from './progress.ts';
import { formatRange } from './ranges.ts';

/** Most have finished by then, and need no stream of events. */
const FIRST_WAIT_SECONDS = 1;
/** A shorter wait is not mentioned. */
const LONG_WAIT_SECONDS = 0.1;

/** Starts a transfer and shows its progress. Ctrl-C cancels it; a second one lets it go on. */
export async function runTransfer(context: Context, request: TransferRequest): Promise<Transfer> {
  const [transfer] = await untilFinished(
    context,
    request.operation ?? 'copy',
    async (client, signal) => [
      await client.createTransfer(request, { waitSeconds: FIRST_WAIT_SECONDS, signal }),
    ],
  );
  if (transfer?.status === 'succeeded') return transfer;
  throw transferError(transfer as Transfer);
}

/** Starts transfers together and shows their progress. Ctrl-C cancels all; a second one lets them go on. */
export function runBatch(
  context: Context,
  requests: readonly BatchedTransferRequest[],
): Promise<Transfer[]> {
  return untilFinished(context, 'batch', (client, signal) =>
    client.createTransfers(requests, { signal }),
  );
}

/** Starts a transfer and does not wait for it. */
export async function detachTransfer(
  context: Context,
  request: TransferRequest,
): Promise<Transfer> {
  const client = await context.client();
  return client.createTransfer(request, { waitSeconds: 0, signal: context.signal });
}

type Start = (client: ConnectedClient, signal: AbortSignal) => Promise<Transfer[]>;

/** @returns them as they ended @throws CliError `interrupted` if Ctrl-C did that */
async function untilFinished(context: Context, what: string, start: Start): Promise<Transfer[]> {
  const client = await context.client();
  const interrupted = new Interruption(context, client);
  const { signal } = interrupted;
  const progress = new Progress(context.terminal, what, context.options.quiet === true);
  let transfers: Transfer[] = [];
  try {
    transfers = await start(client, signal);
    interrupted.begin(transfers);
    const total = transfers.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    for (const [index, begun] of transfers.entries()) {
      // One stream of events at a time, whatever their number: what ended meanwhile says so at once.
      if (!isOver(begun)) {
        for await (const { transfer } of client.watch(begun.id, { signal })) {
          transfers[index] = transfer;
          const { note } = progressOf(transfer);
          const bytes = before + transfer.bytes_completed;
          const count = transfers.length === 1 ? '' : `${index + 1} of ${transfers.length}, `;
          progress.update({ bytes, total, note: `${count}${note}` });
        }
      }
      before += begun.size;
    }
    const cancelled = interrupted.cancelled(transfers);
    if (cancelled !== undefined) throw cancelled;
    return transfers;
  } catch (error) {
    throw interrupted.explain(error, transfers);
  } finally {
    progress.done();
    interrupted.end();
  }
}

export function progressOf({ status, engine, bytes_completed, size }: Transfer) {
  // A fleet's transfer between hosts has no engine.
  const running = engine ?? status;
  return { bytes: bytes_completed, total: size, note: status === 'running' ? running : status };
}

/** One sentence about a finished or unfinished transfer. */
export function sentenceOf(transfer: Transfer): string {
  const { operation, status, size, bytes_completed: bytes } = transfer;
  const parts = [
    `${operation} of ${humanBytes(size)} ${placesOf(transfer)}: ${status}`,
    ...(status === 'succeeded' ? [speedOf(transfer)] : [`${humanBytes(bytes)} done`]),
    howOf(transfer),
  ];
  if (status === 'succeeded' && operation !== 'compare') {
    parts.push(durabilityOf(transfer));
  }
  if (transfer.verification !== null) parts.push(`CRC-32C ${transfer.verification.dst}`);
  return parts.join(', ');
}

/** What it achieved, and by what means. */
export function durabilityOf({ durability: { achieved, basis } }: Transfer): string {
  return basis === null ? achieved : `${achieved} (${basis})`;
}

function howOf({ engine, blocks }: Transfer): string {
  return blocks === undefined
    ? `by ${engine}`
    : `${blocks.copied} of ${blocks.total} blocks copied`;
}

/** Source and destination; of a fleet, with their hosts. */
export function devicesOf({
  host,
  dst_host = host,
  device_name,
  dst_device_name,
}: TransferList['transfers'][number]): [string, string] {
  const onHost = (name: string | undefined, device: string) =>
    name === undefined ? device : `${name}/${device}`;
  return [onHost(host, device_name), onHost(dst_host, dst_device_name)];
}

export function placesOf(transfer: Transfer): string {
  const { operation, segments } = transfer;
  const [device_name, dst_device_name] = devicesOf(transfer);
  const place = (device: string, offset: number | null) =>
    offset === null ? device : formatRange({ device, offset, size: undefined });
  const pieces = segments === null ? '' : ` in ${segments.length} pieces`;
  const destination = place(dst_device_name, transfer.dst_offset);
  if (operation === 'fill') return `${destination}${pieces}`;
  const arrow = operation === 'compare' ? 'with' : 'to';
  return `${place(device_name, transfer.src_offset)} ${arrow} ${destination}${pieces}`;
}

/** Measured from its start; the wait before that is named separately. */
function speedOf({ timings, size }: Transfer): string {
  const waited = timings.queue_ns / 1e9;
  const seconds = timings.total_ns / 1e9 - waited;
  const rate = seconds > 0 ? ` (${humanBytes(size / seconds)}/s)` : '';
  const speed = `in ${humanSeconds(seconds)}${rate}`;
  return waited < LONG_WAIT_SECONDS ? speed : `${speed} after ${humanSeconds(waited)} of waiting`;
}
