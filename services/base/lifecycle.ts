// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';

type Close = () => void | Promise<void>;

/** What has been opened, to be closed in reverse order. */
export class Lifecycle {
  readonly #log: FastifyBaseLogger;
  readonly #opened: { name: string; close: Close }[] = [];
  #closed: Promise<void> | undefined;

  constructor(log: FastifyBaseLogger) {
    this.#log = log;
  }

  /**
   * Remembers how to close what was just opened.
   *
   * @param name for the log
   * @throws Error once closing has begun: it would stay open
   */
  opened(name: string, close: Close): void {
    if (this.#closed !== undefined) throw new Error(`${name} was opened too late to be closed`);
    this.#opened.push({ name, close });
  }

  /**
   * Closes everything, the first time it is called. A failure is logged, and stops nothing.
   *
   * @throws Error the first failure, once everything is closed
   */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const { name, close } of this.#opened.toReversed()) {
      try {
        await close();
      } catch (error) {
        this.#log.error({ err: error }, `could not close ${name}`);
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
