// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import {
  type ConnectedClient,
  type Device,
  DmadError,
  type Engines,
  type Stream,
  type Transfer,
} from '../../client/node.ts';
import { type Context, jsonLine, type Runner } from '../lib/context.ts';
import { placesOf } from '../lib/follow.ts';
import { counted, humanBytes, humanSeconds, printable, table } from '../lib/format.ts';
import { LiveTransfers, type RatedTransfer } from '../lib/live-transfers.ts';
import { formatRange } from '../lib/ranges.ts';
import { Screen } from '../lib/screen.ts';
import { shortId } from '../lib/transfer-id.ts';
import { nameOf } from './devices.ts';

const REFRESH_MS = 1000;
const BAR = 20;
/** Columns from which on there is room for whole ids. */
const WIDE = 132;
/** How long the daemon's first events may take. */
const FIRST_MS = 200;

/** What is shown. */
interface Picture {
  devices: Device[];
  /** null: of a fleet, whose hosts have engines. */
  engines: Engines | null;
  /** Uploads and downloads. null: of a fleet, whose hosts have them. */
  streams: Stream[] | null;
  transfers: RatedTransfer[];
  /** How many wait; not all of them may be among the transfers. */
  queued: number;
  /** Of all that runs, in bytes per second. */
  rate: number;
}

export function top(program: Command, run: Runner): void {
  program
    .command('top')
    .description('show devices, engines, channels and transfers, live; q or Ctrl-C ends it')
    .option('--once', 'show them once')
    .action(
      run(async (context: Context, { once }: { once?: boolean }) => {
        const client = await context.client();
        const view = new View(client);
        const { terminal, options } = context;
        const output = terminal.screen;
        const quit = new AbortController();
        // Ctrl-C is how one leaves it, and no failure.
        const release = context.interrupts.handle(() => quit.abort());
        const ended = view.follow(quit.signal);
        // It is met below.
        ended.catch(() => {});
        const pause = (ms: number) =>
          Promise.race([ended, sleep(ms, undefined, { signal: quit.signal })]);
        let screen: Screen | undefined;
        try {
          await pause(FIRST_MS);
          if (once || (output === undefined && !options.json)) {
            const picture = await view.take(quit.signal);
            context.result(picture, render(picture, Number.POSITIVE_INFINITY, 100).join('\n'));
            return undefined;
          }
          if (output !== undefined && !options.json) {
            screen = new Screen(output, terminal.keyboard, () => quit.abort());
          }
          for (;;) {
            const picture = await view.take(quit.signal);
            if (screen === undefined) terminal.out(`${jsonLine('top', picture)}\n`);
            else {
              const lines = render(picture, screen.rows, screen.columns);
              screen.draw(lines.map((line) => terminal.readable(line)));
            }
            await pause(REFRESH_MS);
          }
        } catch (error) {
          if (!quit.signal.aborted) throw error;
        } finally {
          quit.abort();
          screen?.close();
          release();
        }
        return undefined;
      }),
    );
}

/** Takes pictures. What has no events is asked for each time. */
class View {
  readonly #client: ConnectedClient;
  readonly #transfers: LiveTransfers;

  constructor(client: ConnectedClient) {
    this.#client = client;
    this.#transfers = new LiveTransfers(client);
  }

  /** Reads events until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    const following = this.#transfers.follow(signal);
    await Promise.all([following, this.#transfers.readLatest(signal)]);
  }

  async take(signal: AbortSignal): Promise<Picture> {
    const [devices, engines, streams] = await Promise.all([
      this.#client.listDevices({ signal }),
      this.#client.listEngines({ signal }).catch(nullIfNone),
      this.#client.listStreams({ signal }).catch(nullIfNone),
    ]);
    const transfers = this.#transfers.picture();
    const rate = transfers
      .filter(({ status }) => status === 'running')
      .reduce((sum, each) => sum + each.rate, 0);
    return {
      ...{ devices, engines, streams: streams?.streams ?? null, transfers },
      ...{ queued: this.#transfers.waiting, rate },
    };
  }
}

/** The picture as lines, no more than there are rows, none longer than the columns. */
function render(picture: Picture, rows: number, columns: number): string[] {
  const { devices, engines, streams, transfers, queued, rate } = picture;
  const running = transfers.filter(({ status }) => status === 'running').length;
  const lines = [
    `dmad  ${running} running, ${queued} queued, ${humanBytes(rate)}/s${summaryOf(engines)}`,
    '',
    ...table(
      ['DEVICE', 'KIND', 'SIZE', 'STATE'],
      devices.map((each) => [nameOf(each), each.kind, humanBytes(each.size), each.state]),
    ).split('\n'),
    '',
  ];
  if (engines !== null && engines.dma.channels.length > 0) {
    const channels = engines.dma.channels.map((channel) => [
      ...[channel.name, channel.state, String(channel.in_flight)],
      ...[humanBytes(channel.bytes), String(channel.errors)],
    ]);
    lines.push(
      ...table(['CHANNEL', 'STATE', 'IN FLIGHT', 'BYTES', 'ERRORS'], channels).split('\n'),
      '',
    );
  }
  if (streams !== null && streams.length > 0) {
    lines.push(...table(['STREAM', 'STATUS', 'DONE', 'BYTES'], streams.map(rowOf)).split('\n'), '');
  }
  const listed = transfers.map((transfer) => [
    ...[columns < WIDE ? shortId(transfer.id) : transfer.id, transfer.status, barOf(transfer)],
    ...[`${humanBytes(transfer.rate)}/s`, leftOf(transfer), transfer.engine ?? '–'],
    printable(`${transfer.operation} ${placesOf(transfer)}`),
  ]);
  lines.push(
    ...table(['TRANSFER', 'STATUS', '', 'RATE', 'LEFT', 'BY', 'WHAT'], listed).split('\n'),
  );
  return lines.slice(0, rows).map((line) => [...line].slice(0, columns).join(''));
}

/** @throws unless there is no such thing */
function nullIfNone(error: unknown): null {
  if (error instanceof DmadError && error.code === 'not_found') return null;
  throw error;
}

function summaryOf(engines: Engines | null): string {
  if (engines === null) return '';
  const { dma, cpu } = engines;
  const channels = dma.available ? counted(dma.channels.length, 'channel') : 'none';
  return `   cpu ${counted(cpu.threads, 'thread')}   dma ${channels}`;
}

function rowOf(stream: Stream): string[] {
  const { direction, status, device_name: device, offset, size, bytes_completed: done } = stream;
  const percent = size === 0 ? 100 : Math.floor((done / size) * 100);
  return [direction, status, `${percent}%`, printable(formatRange({ device, offset, size }))];
}

function barOf({ progress }: Transfer): string {
  const full = Math.round(progress * BAR);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${`${Math.floor(progress * 100)}%`.padStart(4)}`;
}

function leftOf(transfer: RatedTransfer): string {
  if (transfer.status !== 'running' || transfer.rate === 0) return '–';
  return humanSeconds((transfer.size - transfer.bytes_completed) / transfer.rate);
}
