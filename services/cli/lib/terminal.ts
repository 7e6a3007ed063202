// SPDX-License-Identifier: Apache-2.0
import type { ReadStream, WriteStream } from 'node:tty';

/** Where output goes: data to stdout, messages and progress to stderr. */
export class Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly #stdout: NodeJS.WriteStream;
  readonly #stderr: NodeJS.WriteStream;
  readonly #color: boolean;

  constructor(
    { stdin, stdout, stderr }: Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr'>,
    env: Readonly<Record<string, string | undefined>>,
  ) {
    this.stdin = stdin;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#color = isTerminal(stdout) && !env.NO_COLOR && env.TERM !== 'dumb';
    // The reader has closed the pipe, as `head` does.
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      process.exit(error.code === 'EPIPE' ? 0 : 1);
    });
    stderr.on('error', () => {});
  }

  /** Whether progress can be drawn over and over in one line. */
  get interactive(): boolean {
    return isTerminal(this.#stderr);
  }

  /** Whether stdout is a terminal that can be drawn on. */
  get screen(): WriteStream | undefined {
    return isTerminal(this.#stdout) ? (this.#stdout as WriteStream) : undefined;
  }

  get columns(): number {
    return (this.#stderr as WriteStream).columns || 80;
  }

  get keyboard(): ReadStream | undefined {
    return isTerminal(this.stdin) ? (this.stdin as ReadStream) : undefined;
  }

  out(text: string): void {
    this.#stdout.write(text);
  }

  /** Writes bytes, no faster than they are taken. */
  async outBytes(bytes: Uint8Array): Promise<void> {
    if (this.#stdout.write(bytes)) return;
    await new Promise((resolve) => this.#stdout.once('drain', resolve));
  }

  err(text: string): void {
    this.#stderr.write(text);
  }

  paint(text: string, color: 'red' | 'yellow' | 'green' | 'dim'): string {
    const codes = { red: 31, yellow: 33, green: 32, dim: 2 };
    return this.#color ? `\x1b[${codes[color]}m${text}\x1b[0m` : text;
  }
}

function isTerminal(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true;
}
