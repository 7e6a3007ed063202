// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findHugePages } from './huge-pages.ts';

/** Of the repository, seen from dist/test/bench/. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SHIM = join(ROOT, 'native-shim/build');
/** Where both sides' bytes are: memory, so that nothing else is measured. */
export const MEMORY_DIR = '/dev/shm';

/** A program that does something for each line that it is given, and prints how long that took. */
export class TimedProgram {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  /** @returns nanoseconds */
  async time(line: string): Promise<number> {
    this.#child.stdin?.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.#child.spawnfile} ended`);
    return Number(value);
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

/** native/copier.c, compiled, at work between two files. */
export class Copier {
  readonly #program: TimedProgram;

  constructor(program: string, files: readonly [string, string]) {
    this.#program = new TimedProgram(program, files);
  }

  /** @returns how long it took, the last of some times, in ns @param what see native/copier.c */
  async time(what: string, size: number, count: number, times = 1): Promise<number> {
    return this.#program.time(`${what} ${size} ${count} ${times}`);
  }

  /** Bytes a second, in GB/s. */
  async speed(what: string, size: number, count: number, times = 1): Promise<number> {
    return (size * count) / (await this.time(what, size, count, times));
  }

  end(): void {
    this.#program.end();
  }
}

/** A directory in memory for the length of the bench; compiles the programs of native/ into it. */
export class Workshop {
  readonly directory = mkdtempSync(join(MEMORY_DIR, 'dmad-bench-'));
  #hugePages: string | undefined;
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

  /** A client that sends the same request again and again. @param request all of it */
  repeater(url: string, request: string): TimedProgram {
    const file = join(this.directory, 'request');
    writeFileSync(file, request);
    return new TimedProgram(this.program('content'), ['repeat', new URL(url).port, file]);
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

  /** A directory for files of that many bytes in huge pages. @throws Unavailable */
  hugePages(bytes: number): string {
    const place = findHugePages(bytes);
    this.#hugePages ??= mkdtempSync(join(place, 'dmad-bench-'));
    return this.#hugePages;
  }

  close(): void {
    for (const each of [this.directory, this.#hugePages]) {
      if (each !== undefined) rmSync(each, { recursive: true, force: true });
    }
  }
}
