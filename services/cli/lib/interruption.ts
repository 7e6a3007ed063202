// SPDX-License-Identifier: Apache-2.0
import { type ConnectedClient, DmadError, type Transfer } from '../../client/node.ts';
import type { Context } from './context.ts';
import { CliError } from './exit-codes.ts';
import { humanBytes } from './format.ts';

/** Ctrl-C cancels the transfers that a command started; a second one lets them go on. */
export class Interruption {
  readonly #context: Context;
  readonly #client: ConnectedClient;
  readonly #leave = new AbortController();
  readonly #release: () => void;
  #ids: string[] | undefined;
  #cancel = false;

  constructor(context: Context, client: ConnectedClient) {
    this.#context = context;
    this.#client = client;
    this.#release = context.interrupts.handle((times) => {
      if (times > 1) return this.#leave.abort(new CliError('interrupted', 'interrupted twice'));
      context.say('cancelling; Ctrl-C again leaves it as it is');
      this.#cancel = true;
      this.#cancelIfBegun();
    });
  }

  /** Aborts at the second Ctrl-C. */
  get signal(): AbortSignal {
    return this.#leave.signal;
  }

  begin(transfers: readonly Transfer[]): void {
    this.#ids = transfers.map(({ id }) => id);
    this.#cancelIfBegun();
  }

  end(): void {
    this.#release();
  }

  /** What to end with if Ctrl-C cancelled some of these, which have ended. */
  cancelled(transfers: readonly Transfer[]): CliError | undefined {
    if (!this.#cancel || !transfers.some(({ status }) => status === 'cancelled')) return undefined;
    const bytes = transfers.reduce((sum, { bytes_completed }) => sum + bytes_completed, 0);
    const what = nameOf(transfers.filter(({ status }) => status !== 'succeeded'));
    const message = `cancelled ${what}; ${humanBytes(bytes)} were done by then`;
    return new CliError('interrupted', message, transfers);
  }

  /** What an error means, given that Ctrl-C may have brought it about. */
  explain(error: unknown, transfers: readonly Transfer[]): unknown {
    if (!this.#leave.signal.aborted) {
      // The daemon's first answer may be how it ended.
      const ended = error instanceof DmadError ? error.transfer : undefined;
      return (ended && this.cancelled([ended])) ?? error;
    }
    if (transfers.length === 0) {
      const message =
        'left before the daemon answered: "dmactl transfers" shows whether it took it';
      return new CliError('interrupted', message);
    }
    const { options, terminal } = this.#context;
    if (!options.json) terminal.out(transfers.map(({ id }) => `${id}\n`).join(''));
    const go = transfers.length === 1 ? 'goes' : 'go';
    return new CliError('interrupted', `left ${nameOf(transfers)}, which ${go} on`, transfers);
  }

  #cancelIfBegun(): void {
    if (this.#cancel && this.#ids !== undefined) void this.#cancelAll(this.#ids);
  }

  /** From the last to the first, so that none starts because the one before it ended. */
  async #cancelAll(ids: readonly string[]): Promise<void> {
    for (const id of ids.toReversed()) {
      // Its events tell if it has already finished, and how.
      await this.#client.cancelTransfer(id, { signal: this.signal }).catch(() => {});
    }
  }
}

function nameOf(transfers: readonly Transfer[]): string {
  const [only] = transfers;
  return transfers.length === 1 ? `transfer ${only?.id}` : `${transfers.length} transfers`;
}
