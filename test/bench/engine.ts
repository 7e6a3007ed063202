// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Workshop } from './copier.ts';
import { median, type Pair, type Row, repeat, rowOf, skipped } from './figures.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** A size up to 1 MiB is copied as often as makes 1 MiB, which is one piece of the engine's. */
const PIECE = MIB;
/** So often is done what is measured warm, of which the last time counts. */
const WARM_TIMES = 4;
const LOOPS = ['movsb', 'avx2_1', 'avx2_2', 'avx2_4', 'avx2_1_prefetch', 'avx2_4_prefetch'];

const SIZES: readonly [string, number][] = [
  ['4KiB', 4 * KIB],
  ['16KiB', 16 * KIB],
  ['64KiB', 64 * KIB],
  ['256KiB', 256 * KIB],
  ['1MiB', MIB],
  ['4MiB', 4 * MIB],
  ['32MiB', 32 * MIB],
  ['256MiB', 256 * MIB],
  ['1GiB', 1024 * MIB],
];
export const ENGINE_ROWS = SIZES.map(([size]) => `engine_${size}`);

/** The CPU engine against libc's memcpy. */
export function engineRow(workshop: Workshop, name: string): Promise<Row> {
  const [, size] = SIZES.find(([label]) => name === `engine_${label}`) as [string, number];
  const small = size <= PIECE;
  const count = small ? PIECE / size : 1;
  // Below 1 MiB without the call: it costs what waking a thread costs, whatever the size.
  const what = small ? 'copy' : 'job';
  const note = `libc memcpy${small ? ', call overhead apart' : ''}`;
  return workshop.withFiles(size * count, async (copier) => {
    // What is small is measured warm: else the peer's CPU would have the bytes.
    const times = small ? WARM_TIMES : 1;
    const engine = () => copier.speed(what, size, count, times);
    const memcpy = () => copier.speed('memcpy', size, count, times);
    await repeat(2, engine, memcpy);
    return rowOf(name, 'GB/s', await repeat(timesFor(size), engine, memcpy), note);
  });
}

interface LoopRow {
  size: number;
  /** What the engine does; see native/copier.c, as for the loops. */
  job: string;
  loops: readonly string[];
}

const FILLING = ['memset', 'stosb', 'avx2_set'];

const LOOP_ROWS: Readonly<Record<string, LoopRow>> = {
  best_loop_32MiB: { size: 32 * MIB, job: 'job', loops: LOOPS },
  best_loop_256MiB: { size: 256 * MIB, job: 'job', loops: LOOPS },
  fill_256MiB: { size: 256 * MIB, job: 'fill', loops: FILLING },
  compare_256MiB: { size: 256 * MIB, job: 'compare', loops: ['memcmp'] },
};
export const BEST_LOOP_ROWS = Object.keys(LOOP_ROWS);

/** The CPU engine against the fastest of some loops written by hand, or libc's. */
export function bestLoopRow(workshop: Workshop, name: string): Promise<Row> {
  const { size, job, loops } = LOOP_ROWS[name] as LoopRow;
  return workshop.withFiles(size, async (copier) => {
    const speed = (what: string) => copier.speed(what, size, 1);
    // All in turn, so that what disturbs one disturbs all; then the engine against one of them.
    const rounds: Map<string, number>[] = [];
    for (let round = 0; round < timesFor(size); round++) {
      const speeds = new Map<string, number>();
      const order = round % 2 === 0 ? [job, ...loops] : [...loops.toReversed(), job];
      for (const what of order) speeds.set(what, await speed(what));
      rounds.push(speeds);
    }
    const of = (what: string) => rounds.map((speeds) => speeds.get(what) as number);
    const [fastest = ''] = loops.toSorted((a, b) => median(of(b)) - median(of(a)));
    const theirs = of(fastest);
    const pairs = of(job).map((value, round): Pair => ({ value, peer: theirs[round] as number }));
    return rowOf(name, 'GB/s', pairs, `the fastest of ${loops.length} loops: ${fastest}`);
  });
}

export const FIO_ROWS = ['fio_mmap_256MiB'];

/**
 * The CPU engine against fio, which must be installed. Not against its engine libpmem, which takes
 * files on persistent memory only.
 */
export function fioRow(workshop: Workshop, name: string): Promise<Row> | Row {
  const engine = 'mmap';
  const engines = spawnSync('fio', ['--enghelp'], { encoding: 'utf8' });
  if (engines.error) return skipped(name, "fio is not installed: Debian's package is fio");
  if (!engines.stdout.includes(engine)) return skipped(name, `this fio has no engine ${engine}`);
  const size = 256 * MIB;
  return workshop.withFiles(size, async (copier) => {
    const file = join(workshop.directory, 'fio');
    const pairs: Pair[] = await repeat(
      7,
      () => copier.speed('job', size, 1),
      async () => fioSpeed(engine, file, size),
    );
    return rowOf(name, 'GB/s', pairs, `fio --ioengine=${engine}, sequential writes of 1 MiB`);
  });
}

function fioSpeed(engine: string, file: string, size: number): number {
  const { status, stdout, stderr } = spawnSync(
    'fio',
    [
      ...['--name=peer', `--ioengine=${engine}`, `--filename=${file}`, `--size=${size}`],
      ...['--rw=write', '--bs=1M', '--loops=4', '--overwrite=1', '--thread'],
      '--output-format=json',
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  if (status !== 0) throw new Error(`fio: ${stderr}`);
  return JSON.parse(stdout).jobs[0].write.bw_bytes / 1e9;
}

/** Many of what is short, few of what is long. */
function timesFor(size: number): number {
  if (size <= MIB) return 301;
  return size <= 32 * MIB ? 41 : 11;
}
