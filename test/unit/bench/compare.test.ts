// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Change, compareRuns, type Run, readRun } from '../../bench/compare.ts';
import { rowOf, skipped } from '../../bench/figures.ts';
import type { Disturbance } from '../../bench/quiet.ts';
import { runs } from '../../support/depth.ts';

const MACHINE = { cpu: 'some', cpus: 2, kernel: '6.1', node: 'v20' };
const QUIET = { others: 0.02, stolen: 0 };

/** Repeats whose ratios are about that, as far apart as a part of it. */
function row(name: string, ratio: number, apart: number, options: RowOptions = {}) {
  const { unit = 'GB/s', count = 11, disturbance = QUIET, random = Math.random } = options;
  const pairs = Array.from({ length: count }, () => ({
    value: ratio * (1 + apart * (random() + random() + random() - 1.5)),
    peer: 1,
  }));
  return { ...rowOf(name, unit, pairs, 'a peer'), disturbance };
}

interface RowOptions {
  unit?: string;
  count?: number;
  disturbance?: Disturbance;
  random?: () => number;
}

const run = (...rows: Run['rows']): Run => ({ machine: MACHINE, rows });
const verdictOf = (before: Run['rows'][number], after: Run['rows'][number]) =>
  compareRuns(run(before), run(after))[0] as Change;

const directory = mkdtempSync(join(tmpdir(), 'dmad-compare-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: unknown): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

describe('compareRuns', () => {
  test.each([
    ['GB/s', 0.8, 'slower'],
    ['transfers/s', 0.8, 'slower'],
    ['GB/s', 1.25, 'faster'],
    ['ms', 1.25, 'slower'],
    ['MB', 1.25, 'slower'],
    ['s/GiB', 1.25, 'slower'],
    ['ms', 0.8, 'faster'],
    ['GB/s', 1.03, 'same'],
    ['ms', 0.97, 'same'],
  ])('of %s, %p times as much is %s', (unit, factor, verdict) => {
    const change = verdictOf(row('a', 0.9, 0.02, { unit }), row('a', 0.9 * factor, 0.02, { unit }));
    expect(change.verdict).toBe(verdict);
    const isBetter = (unit === 'ms' || unit === 'MB' || unit === 's/GiB') === factor < 1;
    expect((change.better ?? 0) > 0).toBe(isBetter);
  });

  test('takes for noise what the repeats differ by themselves', () => {
    const random = () => {
      let state = 1;
      return () => {
        state = (state * 48_271) % 2_147_483_647;
        return state / 2_147_483_647;
      };
    };
    const wide = { random: random() };
    expect(verdictOf(row('a', 1, 0.6, wide), row('a', 0.85, 0.6, wide)).verdict).toBe('same');
    expect(verdictOf(row('a', 1, 0.02, wide), row('a', 0.85, 0.02, wide)).verdict).toBe('slower');
  });

  test('calls hardly ever slower what is the same, and finds what is a fifth slower', () => {
    const counts = { wrong: 0, found: 0, all: 0 };
    const part = fc.double({ min: 0, max: 0.999, noNaN: true });
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.15, noNaN: true }),
        fc.integer({ min: 7, max: 41 }),
        fc.infiniteStream(part),
        (apart, count, stream) => {
          const random = () => stream.next().value as number;
          const before = row('a', 0.9, apart, { count, random });
          counts.all++;
          if (verdictOf(before, row('a', 0.9, apart, { count, random })).verdict === 'slower') {
            counts.wrong++;
          }
          const slow = row('a', 0.72, apart, { count, random });
          if (verdictOf(before, slow).verdict === 'slower') counts.found++;
        },
      ),
      { numRuns: runs(4000, 400), seed: 7 },
    );
    expect(counts.wrong / counts.all).toBeLessThan(0.01);
    expect(counts.found / counts.all).toBeGreaterThan(0.95);
  });

  test('what was measured once has changed only if by more than a fifth', () => {
    const once = { count: 1 };
    expect(verdictOf(row('a', 1, 0, once), row('a', 0.85, 0, once))).toMatchObject({
      ...{ verdict: 'same', noise: 0.2 },
    });
    expect(verdictOf(row('a', 1, 0, once), row('a', 0.7, 0, once)).verdict).toBe('slower');
    // Files of earlier versions do not have what each repeat was.
    const { ratios: _, disturbance: __, ...old } = row('a', 1, 0);
    expect(verdictOf(old, row('a', 0.85, 0)).verdict).toBe('same');
  });

  test('says nothing for certain of a machine that was not quiet', () => {
    const busy = { disturbance: { others: 0.8, stolen: 0.3 } };
    const change = verdictOf(row('a', 1, 0.02), row('a', 0.7, 0.02, busy));
    expect(change).toMatchObject({
      verdict: 'doubtful',
      note: 'not quiet now: other processes used 0.80 CPUs, the hypervisor withheld 0.30 CPUs',
    });
    expect(verdictOf(row('a', 1, 0.02, busy), row('a', 0.7, 0.02))).toMatchObject({
      ...{ verdict: 'doubtful', note: expect.stringMatching(/^not quiet before/) },
    });
    expect(verdictOf(row('a', 1, 0.02, busy), row('a', 1, 0.02)).verdict).toBe('same');
  });

  test('of rows that one run lacks, or could not measure, it says so or nothing', () => {
    const before = run(row('a', 1, 0), skipped('b', 'not installed'), row('gone', 1, 0));
    const after = run(row('a', 1, 0), row('b', 1, 0), row('new', 1, 0), skipped('c', 'failed'));
    expect(compareRuns(before, after).map(({ name, verdict }) => [name, verdict])).toEqual([
      ['a', 'same'],
      ['b', 'unknown'],
      ['new', 'unknown'],
    ]);
  });
});

describe('a file that is no run', () => {
  test.each([[{}], [[]], [{ machine: MACHINE, rows: [{ name: 'a' }] }]])('%j', (content) => {
    expect(() => readRun(file('wrong.json', content))).toThrow(/wrong\.json is not what --json/);
  });
});

describe('npm run bench -- --compare FILE --with FILE', () => {
  const main = fileURLToPath(new URL('../../bench/main.js', import.meta.url));
  const compare = async (before: string, after: string) => {
    try {
      const args = [main, '--compare', before, '--with', after];
      return { code: 0, ...(await promisify(execFile)(process.execPath, args)) };
    } catch (error) {
      return error as { code: number; stdout: string; stderr: string };
    }
  };

  test('ends with 1 if something has become slower', async () => {
    const before = file('before.json', run(row('http_4KiB_rps', 0.8, 0.02), row('other', 1, 0.02)));
    const after = file('after.json', {
      machine: { ...MACHINE, node: 'v24' },
      rows: [row('http_4KiB_rps', 0.6, 0.02), row('other', 1, 0.02)],
    });
    const { code, stdout } = await compare(before, after);
    expect(stdout).toMatch(/^http_4KiB_rps +-2[0-9.]+ % +5\.0 % {2}slower$/m);
    expect(stdout).toMatch(/^other .* same$/m);
    expect(stdout).toContain('another machine or other software: node v24, before v20');
    expect(code).toBe(1);
    expect((await compare(before, before)).code).toBe(0);
  });

  test('says which file it cannot read', async () => {
    const { code, stderr } = await compare(join(directory, 'none.json'), 'x');
    expect(code).not.toBe(0);
    expect(stderr).toContain('none.json');
  });
});
