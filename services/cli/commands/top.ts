// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import {
  type ConnectedClient,
  type Device,
  type Engines,
  isOver,
  type Transfer,
} from '../../client/node.ts';
import { type Context, jsonLine, type Runner } from '../lib/context.ts';
import { placesOf } from '../lib/follow.ts';
import { humanBytes, humanSeconds, printable, table } from '../lib/format.ts';
import { Screen } from '../lib/screen.ts';

const REFRESH_MS = 1000;
const BAR = 20;
/** So many of the last are shown, though they are over. */
const LATEST = 10;

/** What is shown. */
interface Picture {
  devices: Device[];
  engines: Engines;
  transfers: (Transfer & { rate: number })[];
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
        const { terminal, options, signal } = context;
        const screen = terminal.screen;
        if (once || (screen === undefined && !options.json)) {
          const picture = await view.take(signal);
          context.result(picture, render(picture, Number.POSITIVE_INFINITY, 100).join('\n'));
          return undefined;
        }
        const quit = new AbortController();
        // Ctrl-C is how one leaves it, and no failure.
        const release = context.interrupts.handle(() => quit.abort());
        const drawn =
          screen === undefined || options.json
            ? undefined
            : new Screen(screen, terminal.keyboard, () => quit.abort());
        try {
          while (!quit.signal.aborted) {
            const picture = await view.take(quit.signal);
            if (drawn === undefined) terminal.out(`${jsonLine('top', picture)}\n`);
            else drawn.draw(render(picture, drawn.rows, drawn.columns));
            await sleep(REFRESH_MS, undefined, { signal: quit.signal });
          }
        } catch (error) {
          if (!quit.signal.aborted) throw error;
        } finally {
          drawn?.close();
          release();
        }
        return undefined;
      }),
    );
}

/** Takes pictures, and knows rates from one to the next. */
class View {
  readonly #client: ConnectedClient;
  #before = new Map<string, { bytes: number; at: number }>();

  constructor(client: ConnectedClient) {
    this.#client = client;
  }

  async take(signal: AbortSignal): Promise<Picture> {
    const [devices, engines, active, latest] = await Promise.all([
      this.#client.listDevices({ signal }),
      this.#client.listEngines({ signal }),
      this.#client.listTransfers({ status: 'queued,running', page_size: '200' }, { signal }),
      this.#client.listTransfers({ page_size: String(LATEST) }, { signal }),
    ]);
    const at = performance.now();
    const listed = [...active.transfers, ...latest.transfers] as Transfer[];
    const now = new Map(listed.map((transfer) => [transfer.id, transfer]));
    const transfers = [...now.values()].map((transfer) => {
      const before = this.#before.get(transfer.id);
      const rate =
        before === undefined || isOver(transfer)
          ? transfer.throughput_bytes_per_second
          : ((transfer.bytes_completed - before.bytes) / (at - before.at)) * 1000;
      return { ...transfer, rate: Math.max(0, Math.round(rate)) };
    });
    this.#before = new Map([...now].map(([id, { bytes_completed: bytes }]) => [id, { bytes, at }]));
    const running = transfers.filter(({ status }) => status === 'running');
    return { devices, engines, transfers, rate: running.reduce((sum, { rate }) => sum + rate, 0) };
  }
}

/** The picture as lines, no more than there are rows, none longer than the columns. */
function render(picture: Picture, rows: number, columns: number): string[] {
  const { devices, engines, transfers, rate } = picture;
  const running = transfers.filter(({ status }) => status === 'running').length;
  const queued = transfers.filter(({ status }) => status === 'queued').length;
  const { dma, cpu } = engines;
  const lines = [
    `dmad  ${running} running, ${queued} queued, ${humanBytes(rate)}/s` +
      `   cpu ${cpu.threads} threads   dma ${dma.available ? `${dma.channels.length} channels` : 'none'}`,
    '',
    ...table(
      ['DEVICE', 'KIND', 'SIZE', 'STATE'],
      devices.map(({ name, kind, size, state }) => [name, kind, humanBytes(size), state]),
    ).split('\n'),
    '',
  ];
  if (dma.channels.length > 0) {
    const channels = dma.channels.map((channel) => [
      ...[channel.name, channel.state, String(channel.in_flight)],
      ...[humanBytes(channel.bytes), String(channel.errors)],
    ]);
    lines.push(
      ...table(['CHANNEL', 'STATE', 'IN FLIGHT', 'BYTES', 'ERRORS'], channels).split('\n'),
      '',
    );
  }
  const listed = transfers.map((transfer) => [
    ...[transfer.id.slice(-12), transfer.status, barOf(transfer)],
    ...[`${humanBytes(transfer.rate)}/s`, leftOf(transfer), transfer.engine],
    printable(`${transfer.operation} ${placesOf(transfer)}`),
  ]);
  lines.push(
    ...table(['TRANSFER', 'STATUS', '', 'RATE', 'LEFT', 'BY', 'WHAT'], listed).split('\n'),
  );
  return lines.slice(0, rows).map((line) => [...line].slice(0, columns).join(''));
}

function barOf({ progress }: Transfer): string {
  const full = Math.round(progress * BAR);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${`${Math.floor(progress * 100)}%`.padStart(4)}`;
}

function leftOf(transfer: Transfer & { rate: number }): string {
  if (transfer.status !== 'running' || transfer.rate === 0) return '–';
  return humanSeconds((transfer.size - transfer.bytes_completed) / transfer.rate);
}
