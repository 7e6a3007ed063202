// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../services/daemon/main.js', import.meta.url));
/** A daemon that a test does not stop ends by itself after this time. */
const LIFETIME_MS = 120_000;
/** So does a daemon whose test process is killed and can keep no time limit. */
const SETPRIV = '/usr/bin/setpriv';
const DIES_WITH_US = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL'] : [];

export interface DaemonOptions {
  /** The compiled main.js to run instead of the daemon's. */
  main?: string;
  /** Its arguments. */
  args?: string[];
  /** The command that runs the daemon: it must end in "$@" or the like. */
  wrapper?: string[];
  /** Variables to leave out that it has by default. */
  unset?: string[];
  /** Its longest lifetime, in milliseconds. */
  lifetimeMs?: number;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** The daemon in its own process. */
export class Daemon {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly stateDir: string;
  #stdout = '';
  #stderr = '';
  readonly #ownsStateDir: boolean;

  constructor(
    environment: Record<string, string> = {},
    {
      main = MAIN,
      args: given = [],
      wrapper = [],
      unset = [],
      lifetimeMs = LIFETIME_MS,
    }: DaemonOptions = {},
  ) {
    this.#ownsStateDir = environment.DMAD_STATE_DIR === undefined;
    this.stateDir = environment.DMAD_STATE_DIR ?? mkdtempSync(join(tmpdir(), 'dmad-test-'));
    const [command = '', ...args] = [...DIES_WITH_US, ...wrapper, process.execPath, main, ...given];
    const env: NodeJS.ProcessEnv = {
      PATH: process.env.PATH,
      DMAD_PORT: '0',
      DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB',
      ...environment,
      DMAD_STATE_DIR: this.stateDir,
    };
    for (const variable of unset) delete env[variable];
    this.child = spawn(command, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: lifetimeMs,
      killSignal: 'SIGKILL',
    });
    this.child.stdout?.on('data', (data) => {
      this.#stdout += data;
    });
    this.child.stderr?.on('data', (data) => {
      this.#stderr += data;
    });
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        if (this.#ownsStateDir) rmSync(this.stateDir, { recursive: true, force: true });
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  /** The URL from the ready line. @throws Error if the daemon ends before it is ready */
  async ready(): Promise<string> {
    for (;;) {
      const line = this.log().find((entry) => entry.url !== undefined && entry.port !== undefined);
      if (line !== undefined) return line.url as string;
      const ended = await Promise.race([this.exited, sleep(20, undefined)]);
      if (ended !== undefined) throw new Error(`the daemon ended: ${JSON.stringify(ended)}`);
    }
  }

  /** Waits until the message of a line of the log matches. */
  async logged(what: RegExp): Promise<void> {
    while (!this.log().some(({ msg }) => what.test(String(msg)))) {
      const ended = await Promise.race([this.exited, sleep(5, undefined)]);
      if (ended !== undefined) throw new Error(`the daemon ended: ${JSON.stringify(ended)}`);
    }
  }

  /** The log so far, line by line. */
  log(): Record<string, unknown>[] {
    return this.#stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.child.kill(signal);
    return this.exited;
  }
}
