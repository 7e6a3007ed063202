// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Of the repository, seen from dist/test/bench/. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SHIM = join(ROOT, 'native-shim/build');
/** Where both sides' bytes are: memory, so that nothing else is measured. */
export const MEMORY_DIR = '/dev/shm';

/** native/copier.c, compiled, at work between two files. */
export class Copier {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(program: string, files: readonly [string, string]) {
    this.#child = spawn(program, files, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  /** @returns how long it took, the last of some times, in ns @param what see native/copier.c */
  async time(what: string, size: number, count: number, times = 1): Promise<number> {
    this.#child.stdin?.write(`${what} ${size} ${count} ${times}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the copier ended');
    return Number(value);
  }

  /** Bytes a second, in GB/s. */
  async speed(what: string, size: number, count: number, times = 1): Promise<number> {
    return (size * count) / (await this.time(what, size, count, times));
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

/** A directory in memory for the length of the bench; compiles the programs of native/ into it. */
export class Workshop {
  readonly directory = mkdtempSync(join(MEMORY_DIR, 'dmad-bench-'));
  readonly #programs = new Map<string, string>();

  /** The path of a program in C, which is compiled the first time. @param name of its source */
  program(name: 'copier' | 'content'): string {
    const known = this.#programs.get(name);
    if (known !== undefined) return known;
    const program = join(this.directory, name);
    const source = join(ROOT, `test/bench/native/${name}.c`);
    const library = ['-pthread', '-L', SHIM, '-ldma_shim', `-Wl,-rpath,${SHIM}`];
    const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall'];
    execFileSync('gcc', [...flags, '-o', program, source, ...library]);
    this.#programs.set(name, program);
    return program;
  }

  copier(files: readonly [string, string]): Copier {
    return new Copier(this.program('copier'), files);
  }

  /** Works with a copier between two files of that size, and removes them. */
  async withFiles<Result>(size: number, work: (copier: Copier) => Promise<Result>) {
    const files = ['from', 'to'].map((name) => join(this.directory, name)) as [string, string];
    for (const file of files) {
      const descriptor = openSync(file, 'w', 0o600);
      ftruncateSync(descriptor, size);
      closeSync(descriptor);
    }
    const copier = this.copier(files);
    try {
      return await work(copier);
    } finally {
      copier.end();
      for (const file of files) rmSync(file, { force: true });
    }
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
