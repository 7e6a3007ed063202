// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** How long a process may take to end before it is killed. */
const STOP_MS = 5000;
const SHOWN_BYTES = 2000;

/** Processes that end together, each with a log in a directory. */
export class Children {
  readonly #directory: string;
  readonly #children: ChildProcess[] = [];
  #stopping = false;
  #fail: (error: Error) => void = () => {};
  /** Rejects once one of them ends by itself. */
  readonly failed: Promise<never>;

  constructor(directory: string) {
    this.#directory = directory;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
  }

  /** @param environment beside the caller's PATH. @returns its process id */
  start(
    name: string,
    [command = '', ...args]: string[],
    environment: NodeJS.ProcessEnv = {},
  ): number | undefined {
    const path = join(this.#directory, `${name}.log`);
    const log = openSync(path, 'a');
    const child = spawn(command, args, {
      // A terminal's Ctrl-C goes to its whole group: they are stopped in turn instead.
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, ...environment },
    });
    closeSync(log);
    child.once('exit', (code, signal) => {
      // A gateway that somebody kills to see what becomes of it is no failure.
      if (this.#stopping || signal !== null) return;
      const end = readFileSync(path, 'utf8').slice(-SHOWN_BYTES);
      this.#fail(new Error(`${name} ended with code ${code}:\n${end}`));
    });
    child.once('error', (error) => this.#fail(error));
    this.#children.push(child);
    return child.pid;
  }

  /** Ends them, the last one first. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const child of this.#children.toReversed()) await end(child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  // One that was stopped hears nothing else.
  child.kill('SIGCONT');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}
