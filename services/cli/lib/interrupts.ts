// SPDX-License-Identifier: Apache-2.0
import { CliError } from './exit-codes.ts';

/** What Ctrl-C does now. @param times how often it was pressed */
export type OnInterrupt = (times: number) => void;

/** Ctrl-C, and SIGTERM and SIGHUP, which mean the same. */
export class Interrupts {
  readonly #abort = new AbortController();
  #handler: OnInterrupt | undefined;
  #times = 0;

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => this.#interrupt());
    }
  }

  /** Aborts with a CliError, unless something handles interrupts itself. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** @returns a function that gives it back */
  handle(handler: OnInterrupt): () => void {
    this.#handler = handler;
    return () => {
      this.#handler = undefined;
    };
  }

  #interrupt(): void {
    this.#times++;
    if (this.#handler !== undefined) this.#handler(this.#times);
    else this.#abort.abort(new CliError('interrupted', 'interrupted'));
  }
}
