// SPDX-License-Identifier: Apache-2.0
import { humanBytes, humanSeconds } from './format.ts';
import type { Terminal } from './terminal.ts';

/** How often the line is drawn on a terminal, and how often one is written elsewhere, in milliseconds. */
const REDRAW_MS = 200;
const LINE_MS = 10_000;
/** What the rate is computed over. */
const WINDOW_MS = 5000;
const BAR = 20;

/** How far something has come. */
export interface ProgressState {
  bytes: number;
  /** Undefined if it is not known. */
  total: number | undefined;
  /** Such as the engine, or "queued". */
  note?: string;
}

/** Shows on stderr how far a transfer, an upload or a download has come. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #quiet: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  #samples: { at: number; bytes: number }[] = [];
  #state: ProgressState | undefined;

  /** @param what goes on, such as "copy" */
  constructor(terminal: Terminal, what: string, quiet: boolean) {
    this.#terminal = terminal;
    this.#what = what;
    this.#quiet = quiet;
    if (quiet) return;
    const every = terminal.interactive ? REDRAW_MS : LINE_MS;
    this.#timer = setInterval(() => this.#show(), every).unref();
  }

  update(state: ProgressState): void {
    const at = performance.now();
    this.#state = state;
    const last = this.#samples.at(-1);
    // A sample for each piece would be too many.
    if (last === undefined || at - last.at >= REDRAW_MS / 2) {
      this.#samples.push({ at, bytes: state.bytes });
    }
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Removes the line from the terminal. */
  done(): void {
    clearInterval(this.#timer);
    this.#terminal.clearLine();
  }

  /** The line as it would be drawn now. */
  line(): string | undefined {
    if (this.#state === undefined) return undefined;
    const { bytes, total, note } = this.#state;
    const rate = this.#rate();
    const parts = [this.#what.padEnd(8)];
    if (total !== undefined) {
      const share = total === 0 ? 1 : Math.min(bytes / total, 1);
      const full = Math.floor(share * BAR);
      parts.push(`[${'#'.repeat(full)}${'.'.repeat(BAR - full)}]`);
      parts.push(`${Math.floor(share * 100)}%`.padStart(4));
      parts.push(`${humanBytes(bytes)} of ${humanBytes(total)}`);
    } else parts.push(humanBytes(bytes));
    if (rate > 0) {
      parts.push(`${humanBytes(rate)}/s`);
      if (total !== undefined && bytes < total) {
        parts.push(`${humanSeconds((total - bytes) / rate)} left`);
      }
    }
    if (note !== undefined) parts.push(note);
    return parts.join('  ');
  }

  #rate(): number {
    const first = this.#samples[0];
    if (first === undefined || this.#state === undefined) return 0;
    const seconds = (performance.now() - first.at) / 1000;
    return seconds > 0.1 ? (this.#state.bytes - first.bytes) / seconds : 0;
  }

  #show(): void {
    const line = this.line();
    if (line === undefined || this.#quiet) return;
    if (!this.#terminal.interactive) {
      this.#terminal.err(`${line}\n`);
      return;
    }
    this.#terminal.drawLine(line);
  }
}
