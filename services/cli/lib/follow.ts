// SPDX-License-Identifier: Apache-2.0
import {
  type ConnectedClient,
  DmadError,
  isOver,
  type Transfer,
  type TransferRequest,
  transferError,
} from '../../client/node.ts';
import type { Context } from './context.ts';
import { CliError } from './exit-codes.ts';
import { humanBytes, humanSeconds } from './format.ts';
import { Progress } from './progress.ts';
import { formatRange } from './ranges.ts';

/** Most are over by then, and need no stream of events. */
const FIRST_WAIT_SECONDS = 1;

/** Starts a transfer and shows how it gets on. Ctrl-C cancels it; a second one leaves it. */
export async function runTransfer(context: Context, request: TransferRequest): Promise<Transfer> {
  const client = await context.client();
  const interrupted = new Interruption(context, client);
  const { signal } = interrupted;
  const progress = new Progress(
    context.terminal,
    request.operation ?? 'copy',
    context.options.quiet === true,
  );
  let transfer: Transfer | undefined;
  try {
    transfer = await client.createTransfer(request, { waitSeconds: FIRST_WAIT_SECONDS, signal });
    interrupted.begin(transfer);
    if (!isOver(transfer)) {
      for await (const event of client.watch(transfer.id, { signal })) {
        transfer = event.transfer;
        progress.update(standingOf(transfer));
      }
    }
    if (transfer.status === 'succeeded') return transfer;
    throw transferError(transfer);
  } catch (error) {
    throw interrupted.explain(error, transfer);
  } finally {
    progress.done();
    interrupted.end();
  }
}

/** Starts a transfer and leaves it. */
export async function detachTransfer(
  context: Context,
  request: TransferRequest,
): Promise<Transfer> {
  const client = await context.client();
  return client.createTransfer(request, { waitSeconds: 0, signal: context.signal });
}

/** What Ctrl-C does to a transfer that this command started. */
class Interruption {
  readonly #context: Context;
  readonly #client: ConnectedClient;
  readonly #leave = new AbortController();
  readonly #release: () => void;
  #id: string | undefined;
  #cancel = false;

  constructor(context: Context, client: ConnectedClient) {
    this.#context = context;
    this.#client = client;
    this.#release = context.interrupts.handle((times) => {
      if (times > 1) return this.#leave.abort(new CliError('interrupted', 'interrupted twice'));
      context.say('cancelling it; Ctrl-C again leaves it as it is');
      this.#cancel = true;
      this.#cancelIfBegun();
    });
  }

  /** Aborts once it is to be left. */
  get signal(): AbortSignal {
    return this.#leave.signal;
  }

  begin({ id }: Transfer): void {
    this.#id = id;
    this.#cancelIfBegun();
  }

  end(): void {
    this.#release();
  }

  /** What an error means, given that Ctrl-C may have brought it about. */
  explain(error: unknown, transfer: Transfer | undefined): unknown {
    if (this.#leave.signal.aborted) {
      if (transfer === undefined) {
        const message =
          'left before the daemon answered: "dmactl transfers" shows whether it took it';
        return new CliError('interrupted', message);
      }
      if (!this.#context.options.json) this.#context.terminal.out(`${transfer.id}\n`);
      return new CliError('interrupted', `left transfer ${transfer.id}, which goes on`, transfer);
    }
    if (!this.#cancel || !(error instanceof DmadError) || error.code !== 'cancelled') return error;
    const { id, bytes_completed: bytes } = error.transfer ?? { id: '', bytes_completed: 0 };
    const message = `cancelled transfer ${id}; ${humanBytes(bytes)} were done by then`;
    return new CliError('interrupted', message, error.transfer);
  }

  #cancelIfBegun(): void {
    if (!this.#cancel || this.#id === undefined) return;
    // Its events tell if it has already finished, and how.
    this.#client.cancelTransfer(this.#id, { signal: this.signal }).catch(() => {});
  }
}

export function standingOf({ status, engine, bytes_completed, size }: Transfer) {
  return { bytes: bytes_completed, total: size, note: status === 'running' ? engine : status };
}

/** One sentence about a finished or unfinished transfer. */
export function sentenceOf(transfer: Transfer): string {
  const { operation, status, size, bytes_completed: bytes } = transfer;
  const parts = [
    `${operation} of ${humanBytes(size)} ${placesOf(transfer)}: ${status}`,
    ...(status === 'succeeded' ? [speedOf(transfer)] : [`${humanBytes(bytes)} done`]),
    `by ${transfer.engine}`,
  ];
  if (status === 'succeeded' && operation !== 'compare') {
    const { achieved, basis } = transfer.durability;
    parts.push(basis === null ? achieved : `${achieved} (${basis})`);
  }
  if (transfer.verification !== null) parts.push(`CRC-32C ${transfer.verification.dst}`);
  return parts.join(', ');
}

export function placesOf(transfer: Transfer): string {
  const { operation, device_name, dst_device_name, segments } = transfer;
  const place = (device: string, offset: number | null) =>
    offset === null ? device : formatRange({ device, offset, size: undefined });
  const pieces = segments === null ? '' : ` in ${segments.length} pieces`;
  const destination = place(dst_device_name, transfer.dst_offset);
  if (operation === 'fill') return `${destination}${pieces}`;
  const arrow = operation === 'compare' ? 'with' : 'to';
  return `${place(device_name, transfer.src_offset)} ${arrow} ${destination}${pieces}`;
}

function speedOf({ timings, throughput_bytes_per_second: rate }: Transfer): string {
  return `in ${humanSeconds(timings.total_ns / 1e9)} (${humanBytes(rate)}/s)`;
}
