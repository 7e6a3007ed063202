// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

/** The repository, seen from dist/test/monitoring/. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

// biome-ignore lint/suspicious/noExplicitAny: each test knows the shape of the file it reads.
export function readYaml(path: string): any {
  return parse(readText(path), { merge: true });
}

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions extends SpawnOptions {
  timeout: number;
  input?: string;
}

/** A process that is killed at its time limit, and how it ends. */
export class Process {
  readonly child: ChildProcess;
  readonly exited: Promise<Result>;
  stdout = '';
  stderr = '';

  constructor(command: string, args: string[], { input, ...options }: RunOptions) {
    this.child = spawn(command, args, { ...options, stdio: 'pipe', killSignal: 'SIGKILL' });
    this.child.stdout?.on('data', (data) => {
      this.stdout += data;
    });
    this.child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.child.stdin?.on('error', () => {});
    this.child.stdin?.end(input);
    this.exited = new Promise((resolve) => {
      const end = (code: number | null) => {
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
      };
      this.child.once('error', ({ message }) => {
        this.stderr += message;
        end(null);
      });
      this.child.once('close', end);
    });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Result> {
    this.child.kill(signal);
    return this.exited;
  }
}

export function run(command: string, args: string[], options: RunOptions): Promise<Result> {
  return new Process(command, args, options).exited;
}

/** Asks again until the answer is not undefined. @throws Error after the time limit */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await sleep(200);
  } while (Date.now() < deadline);
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
}
