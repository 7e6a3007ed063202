// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';

const MAIN = fileURLToPath(new URL('../../services/cli/main.js', import.meta.url));
const SCHEMA = new URL('../../../openapi/dmactl.schema.json', import.meta.url);

const ajv = new Ajv2020({ strict: false, validateFormats: false });
const validate = ajv.compile(JSON.parse(readFileSync(SCHEMA, 'utf8')));

export interface Ended {
  code: number | null;
  stdout: Buffer;
  stderr: string;
}

/** dmactl while it runs. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stderr = '';

  /** Killed after `lifetimeMs`, if it has not ended by then. */
  constructor(
    args: readonly string[],
    env: Record<string, string>,
    { input, lifetimeMs = 120_000 }: { input?: Uint8Array; lifetimeMs?: number } = {},
  ) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env },
      timeout: lifetimeMs,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    this.child.stdout?.on('data', (data) => stdout.push(data));
    this.child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.child.stdin?.on('error', () => {});
    this.child.stdin?.end(input);
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) =>
        resolve({ code, stdout: Buffer.concat(stdout), stderr: this.stderr }),
      );
    });
  }

  /** Waits until stderr says so. */
  async says(what: RegExp): Promise<void> {
    while (!what.test(this.stderr)) {
      const ended = await Promise.race([
        this.ended,
        new Promise((resolve) => setTimeout(resolve, 10)),
      ]);
      if (ended !== undefined) throw new Error(`dmactl ended: ${this.stderr}`);
    }
  }
}

/** Runs dmactl with one environment. */
export function dmactlFor(env: Record<string, string>, options?: { lifetimeMs: number }) {
  const start = (...args: string[]) => new Running(args, env, options);
  const run = (...args: string[]) => start(...args).ended;
  /** With --json: the lines that it printed, each as its schema has it. */
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, '--json');
    const lines = stdout.toString().trimEnd().split('\n');
    return { code, stderr, lines: lines.map((line) => checkedLine(line, args)) };
  };
  return {
    start,
    run,
    json,
    withInput: (input: Uint8Array, ...args: string[]) =>
      new Running(args, env, { ...options, input }).ended,
    /** The one object that it printed. */
    one: async (...args: string[]) => {
      const { lines, ...rest } = await json(...args);
      expect(lines).toHaveLength(1);
      return { ...rest, document: lines[0] as Record<string, never> };
    },
  };
}

function checkedLine(line: string, args: readonly string[]): Record<string, unknown> {
  const document: Record<string, unknown> = JSON.parse(line);
  const valid: boolean = validate(document);
  if (!valid) {
    throw new Error(`${args.join(' ')}: ${ajv.errorsText(validate.errors).slice(0, 500)}: ${line}`);
  }
  return document;
}
