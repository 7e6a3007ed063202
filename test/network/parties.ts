// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Place } from '../support/etcd.ts';

const PREFIX = '10.78.0';

/** Network namespaces that reach each other, until they are cut apart; see switch.c. This process is one, too. */
export class Parties {
  readonly directory = mkdtempSync(join(tmpdir(), 'dmad-parties-'));
  readonly #names: readonly string[];
  #switch: ChildProcess | undefined;

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  async open(): Promise<void> {
    const program = join(this.directory, 'switch');
    execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-o', program, 'test/network/switch.c']);
    const devices = [...this.#names, 'here'].map((_, index) => `dmp${process.pid}-${index}`);
    this.#switch = spawn(program, [PREFIX, ...devices], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(this.#switch.stdout as NodeJS.ReadableStream, 'data');
    for (const [index, name] of this.#names.entries()) {
      const namespace = this.#namespaceOf(name);
      const device = devices[index] as string;
      ip('netns', 'add', namespace);
      ip('link', 'set', device, 'netns', namespace);
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
      configure(['-n', namespace], device, this.addressOf(name));
    }
    configure([], devices.at(-1) as string, `${PREFIX}.${devices.length}`);
  }

  addressOf(name: string): string {
    return `${PREFIX}.${this.#numberOf(name)}`;
  }

  placeOf(name: string): Place {
    return {
      address: this.addressOf(name),
      wrapper: ['ip', 'netns', 'exec', this.#namespaceOf(name)],
    };
  }

  /** Nothing goes between them any more, and nobody is told. */
  cut(name: string, others: readonly string[]): void {
    const lines = others.map((other) => `cut ${this.#numberOf(name)} ${this.#numberOf(other)}\n`);
    this.#switch?.stdin?.write(lines.join(''));
  }

  /** Undoes all cuts. */
  mend(): void {
    this.#switch?.stdin?.write('mend\n');
  }

  async close(): Promise<void> {
    this.#switch?.stdin?.end();
    if (this.#switch !== undefined) await once(this.#switch, 'exit');
    for (const name of this.#names) ip('netns', 'delete', this.#namespaceOf(name));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #numberOf(name: string): number {
    return this.#names.indexOf(name) + 1;
  }

  #namespaceOf(name: string): string {
    return `dmad-${process.pid}-${name}`;
  }
}

function configure(where: string[], device: string, address: string): void {
  ip(...where, 'address', 'add', `${address}/24`, 'dev', device);
  ip(...where, 'link', 'set', device, 'up');
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
