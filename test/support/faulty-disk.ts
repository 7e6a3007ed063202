// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../../test/support/faulty_disk.c', import.meta.url));
const FOREVER = 0xffff_ffff;
export const EIO = 5;
export const ENOSPC = 28;
export const EDQUOT = 122;

/** In the order of enum moment. */
const MOMENTS = ['before', 'after', 'during'] as const;
type Moment = (typeof MOMENTS)[number];

export interface Faults {
  /** The first write or sync to fail, from 1. */
  first: number;
  /** How many fail from there on; by default all. */
  times?: number;
  error?: number;
  /** Whether they have done nothing by then, all, or the half of what they write. */
  moment?: Moment;
  /** Whether the disk becomes read-only with the first. */
  readOnly?: boolean;
}

/** A disk under a daemon's journal that a test can make fail while the daemon runs. */
export class FaultyDisk {
  readonly #directory = mkdtempSync(join(tmpdir(), 'dmad-disk-'));
  readonly #control = join(this.#directory, 'control');

  constructor() {
    const library = join(this.#directory, 'faulty_disk.so');
    const flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC'];
    execFileSync('gcc', [...flags, '-o', library, SOURCE, '-ldl']);
    this.#write([]);
  }

  /** For the daemon's environment. */
  get environment(): Record<string, string> {
    return { LD_PRELOAD: join(this.#directory, 'faulty_disk.so'), FAULTY_DISK: this.#control };
  }

  /** Fails from now on at these operations. */
  fail({ first, times = FOREVER, error = EIO, moment = 'before', readOnly = false }: Faults): void {
    this.#write([1, first, times, error, MOMENTS.indexOf(moment), Number(readOnly)]);
  }

  /** Fails at random: EIO or ENOSPC, before, after or during the operation. */
  failAtRandom(oneIn: number): void {
    this.#write([2, 0, 0, 0, 0, 0, oneIn]);
  }

  /** Works from now on. */
  work(): void {
    this.#write([]);
  }

  /** How many operations failed since it was last told something. */
  get faults(): number {
    return readFileSync(this.#control).readUInt32LE(8 * 4);
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #write(words: number[]): void {
    const bytes = Buffer.alloc(64);
    // The mode last, for the daemon looks at it meanwhile.
    for (const [index, word] of words.entries())
      if (index > 0) bytes.writeUInt32LE(word, index * 4);
    writeFileSync(this.#control, bytes, { flag: this.#made ? 'r+' : 'w' });
    this.#made = true;
    bytes.writeUInt32LE(words[0] ?? 0, 0);
    writeFileSync(this.#control, bytes.subarray(0, 4), { flag: 'r+' });
  }

  #made = false;
}
