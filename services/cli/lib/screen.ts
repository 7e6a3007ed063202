// SPDX-License-Identifier: Apache-2.0
import type { ReadStream, WriteStream } from 'node:tty';

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const CTRL_C = '\x03';

/** The whole terminal, which is as it was once this is closed, however the process ends. */
export class Screen {
  readonly #output: WriteStream;
  readonly #keyboard: ReadStream | undefined;
  readonly #onExit = () => this.close();
  readonly #onKey: (key: Buffer) => void;
  #lines: readonly string[] = [];
  readonly #onResize = () => this.draw(this.#lines);
  #closed = false;

  /** @param onQuit hears q and Ctrl-C, which is no signal while keys are read one by one */
  constructor(output: WriteStream, keyboard: ReadStream | undefined, onQuit: () => void) {
    this.#output = output;
    this.#keyboard = keyboard;
    this.#onKey = (key) => {
      if (['q', 'Q', CTRL_C].includes(key.toString())) onQuit();
    };
    output.write(ENTER);
    process.once('exit', this.#onExit);
    output.on('resize', this.#onResize);
    keyboard?.setRawMode(true).on('data', this.#onKey);
  }

  get rows(): number {
    return this.#output.rows || 24;
  }

  get columns(): number {
    return this.#output.columns || 80;
  }

  draw(lines: readonly string[]): void {
    this.#lines = lines;
    const shown = lines.slice(0, this.rows).map((line) => `${line.slice(0, this.columns)}\x1b[K`);
    this.#output.write(`\x1b[H${shown.join('\r\n')}\x1b[J`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.removeListener('exit', this.#onExit);
    this.#output.removeListener('resize', this.#onResize);
    this.#keyboard?.removeListener('data', this.#onKey).setRawMode(false).pause();
    this.#output.write(LEAVE);
  }
}
