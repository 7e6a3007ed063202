// SPDX-License-Identifier: Apache-2.0
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

/**
 * Writes what one turn of the event loop logs together, at the turn's end: a write costs as much
 * as handling a small request. A process that ends, however badly, writes the rest; one that is
 * killed by a signal it cannot handle loses what it logged in that turn.
 */
export class LogByTurns implements DestinationStream {
  readonly #destination: DestinationStream;
  #lines = '';

  /** @param destination to write to at once */
  constructor(destination: DestinationStream) {
    this.#destination = destination;
    process.on('exit', () => this.flushSync());
  }

  write(line: string): void {
    if (this.#lines === '') setImmediate(() => this.flushSync());
    this.#lines += line;
  }

  /** Also what pino calls before a process ends by a fatal error. */
  flushSync(): void {
    const lines = this.#lines;
    this.#lines = '';
    if (lines !== '') this.#destination.write(lines);
  }
}

/** The log on stdout, as lines of JSON. */
export function openLog(options: LoggerOptions): Logger {
  return pino(options, new LogByTurns(pino.destination({ fd: process.stdout.fd, sync: true })));
}
