// SPDX-License-Identifier: Apache-2.0
import type { ReadStream, WriteStream } from 'node:tty';

/** What a locale without UTF-8 shows instead. */
const IN_ASCII: Record<string, string> = { '–': '-', '…': '...', '→': '->', '�': '?' };
const CLEAR = '\r\x1b[K';

/** Where output goes: data to stdout, messages and progress to stderr. */
export class Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly #stdout: NodeJS.WriteStream;
  readonly #stderr: NodeJS.WriteStream;
  readonly #dumb: boolean;
  readonly #color: { stdout: boolean; stderr: boolean };
  readonly #utf8: boolean;
  /** Whether the last line is to be drawn over. */
  #drawn = false;
  /** Whether stdout receives bytes of a device, all of which matter. */
  #bytes = false;

  constructor(
    { stdin, stdout, stderr }: Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr'>,
    env: Readonly<Record<string, string | undefined>>,
  ) {
    this.stdin = stdin;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#dumb = env.TERM === 'dumb';
    const color = !env.NO_COLOR && !this.#dumb;
    this.#color = { stdout: color && isTerminal(stdout), stderr: color && isTerminal(stderr) };
    this.#utf8 = /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '');
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      // The reader has closed the pipe, as `head` does: it has seen enough of a list, but not all bytes.
      if (error.code === 'EPIPE' && !this.#bytes) process.exit(0);
      this.err(`dmactl: standard output cannot be written: ${error.message}\n`);
      process.exit(1);
    });
    stderr.on('error', () => {});
  }

  /** Whether progress can be drawn over and over in one line. */
  get interactive(): boolean {
    return isTerminal(this.#stderr) && !this.#dumb;
  }

  /** Whether stdout is a terminal that can be drawn on. */
  get screen(): WriteStream | undefined {
    return isTerminal(this.#stdout) && !this.#dumb ? (this.#stdout as WriteStream) : undefined;
  }

  get columns(): number {
    return (this.#stderr as WriteStream).columns || 80;
  }

  get keyboard(): ReadStream | undefined {
    return isTerminal(this.stdin) ? (this.stdin as ReadStream) : undefined;
  }

  /** Data, as it is. */
  out(text: string): void {
    this.clearLine();
    this.#stdout.write(text);
  }

  /** What people read, on stdout. */
  print(text: string): void {
    this.out(this.readable(text));
  }

  /** A text for people, with nothing in it that their locale could not show. */
  readable(text: string): string {
    if (this.#utf8) return text;
    return text.replace(/[–…→�]/g, (character) => IN_ASCII[character] ?? '?');
  }

  /** Writes bytes, and waits until stdout can take more. */
  async outBytes(bytes: Uint8Array): Promise<void> {
    this.#bytes = true;
    if (this.#stdout.write(bytes)) return;
    await new Promise((resolve) => this.#stdout.once('drain', resolve));
  }

  err(text: string): void {
    this.clearLine();
    this.#stderr.write(this.readable(text));
  }

  /** Draws a line on an interactive terminal, in place of the one before. */
  drawLine(text: string): void {
    // One that wraps could not be drawn over.
    this.#stderr.write(`\r${[...this.readable(text)].slice(0, this.columns - 1).join('')}\x1b[K`);
    this.#drawn = true;
  }

  /** Removes that line. */
  clearLine(): void {
    if (this.#drawn) this.#stderr.write(CLEAR);
    this.#drawn = false;
  }

  /** @param to what it is written to afterwards */
  paint(text: string, color: 'red' | 'yellow' | 'green' | 'dim', to: 'stdout' | 'stderr'): string {
    const codes = { red: 31, yellow: 33, green: 32, dim: 2 };
    return this.#color[to] ? `\x1b[${codes[color]}m${text}\x1b[0m` : text;
  }
}

function isTerminal(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true;
}
