// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../support/random.ts';

/** How long a fault lasts, and at most passes between two, in milliseconds. */
const FAULT_MS = 5000;

/** Reads a daemon's log from a FIFO: and stalls, goes, and comes back. */
export class LogReader {
  readonly path: string;
  faults = 0;
  #reader: ChildProcess | undefined;

  constructor(directory: string) {
    this.path = join(directory, 'log');
    execFileSync('mkfifo', [this.path]);
  }

  /** One that ends with its daemon is to be started for the next. */
  start(): void {
    this.#reader?.kill('SIGKILL');
    this.#reader = spawn('setpriv', ['--pdeathsig', 'KILL', 'cat', this.path], { stdio: 'ignore' });
  }

  stop(): void {
    this.#reader?.kill('SIGKILL');
  }

  /** One fault after the other; afterwards it reads. */
  async trouble(random: Random, done: AbortSignal): Promise<void> {
    const pause = () =>
      sleep(random.logInteger(10, FAULT_MS), undefined, { signal: done }).catch(() => {});
    while (!done.aborted) {
      await pause();
      this.faults++;
      if (random.integer(0, 1) === 0) {
        this.#reader?.kill('SIGSTOP');
        await pause();
        this.#reader?.kill('SIGCONT');
      } else {
        this.stop();
        if (this.#reader?.exitCode === null && this.#reader.signalCode === null) {
          await once(this.#reader, 'exit');
        }
        await pause();
        this.start();
      }
    }
  }
}
