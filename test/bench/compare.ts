// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { median, quantile } from './figures.ts';
import { whyNotQuiet } from './quiet.ts';

const rowSchema = z.object({
  name: z.string(),
  unit: z.string(),
  ratio: z.number().positive().nullable(),
  /** Absent in files of earlier versions. */
  ratios: z.array(z.number().positive()).optional(),
  spread: z.number().nullable(),
  disturbance: z.object({ others: z.number(), stolen: z.number() }).optional(),
});

const runSchema = z.object({
  machine: z.object({ cpu: z.string(), cpus: z.number(), kernel: z.string(), node: z.string() }),
  rows: z.array(rowSchema),
});

/** What `--json` wrote, as far as a comparison needs it. */
export type Run = z.output<typeof runSchema>;
type MeasuredRow = Run['rows'][number];

/** A change of less than this is never one, however little the repeats differ: runs differ, too. */
const LEAST_CHANGE = 0.05;
/** So many standard errors make a change. */
const ERRORS = 3;
/** Of the median of values from a normal distribution, by the distance of their quartiles. */
const MEDIAN_ERROR = 1.2533 / 1.349;
/** With fewer repeats their quartiles say little: then it takes this much. */
const FEW = 4;
const LEAST_CHANGE_OF_FEW = 0.2;

export type Verdict = 'slower' | 'faster' | 'same' | 'doubtful' | 'unknown';

/** What became of one row between two runs. */
export interface Change {
  name: string;
  verdict: Verdict;
  /** By how much the ratio to the peer is better; negative: worse. Undefined if that is unknown. */
  better: number | undefined;
  /** What a change has to exceed. */
  noise: number | undefined;
  note: string;
}

/** @throws Error if it is no file that `--json` wrote */
export function readRun(file: string): Run {
  const { success, data, error } = runSchema.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (success) return data;
  throw new Error(`${file} is not what --json writes: ${z.prettifyError(error)}`);
}

/**
 * Tells changes from noise. A row has changed if the medians of the repeats' ratios to the peer differ by more
 * than 5 %, and by more than three standard errors of that difference, by the quartiles of both runs'
 * repeats.
 *
 * @returns for each row of the later run that has a figure
 */
export function compareRuns(before: Run, after: Run): Change[] {
  const earlier = new Map(before.rows.map((row) => [row.name, row]));
  return after.rows
    .filter(({ ratio }) => ratio !== null)
    .map((row) => compareRows(earlier.get(row.name), row));
}

function compareRows(before: MeasuredRow | undefined, after: MeasuredRow): Change {
  const { name, unit } = after;
  if (before === undefined || before.ratio === null) {
    const note = 'the other run has no figure';
    return { name, verdict: 'unknown', better: undefined, noise: undefined, note };
  }
  const change = (after.ratio as number) / before.ratio - 1;
  const better = lessIsBetter(unit) ? 1 / (1 + change) - 1 : change;
  const noise = noiseOf(before, after);
  const reason = disturbed('before', before) ?? disturbed('now', after);
  const note = reason ?? '';
  if (Math.abs(better) <= noise) return { name, verdict: 'same', better, noise, note };
  if (reason !== undefined) return { name, verdict: 'doubtful', better, noise, note };
  return { name, verdict: better < 0 ? 'slower' : 'faster', better, noise, note };
}

/** Of times and memory less is better. */
function lessIsBetter(unit: string): boolean {
  return /^(ms|µs|MB|s\/GiB)$/.test(unit);
}

function noiseOf(before: MeasuredRow, after: MeasuredRow): number {
  const errors = [before, after].map(relativeError);
  if (errors.includes(undefined)) return LEAST_CHANGE_OF_FEW;
  const [first = 0, second = 0] = errors;
  return Math.max(LEAST_CHANGE, ERRORS * Math.hypot(first, second));
}

/** The standard error of a row's median, as a part of it; undefined if there were too few repeats. */
function relativeError({ ratios = [] }: MeasuredRow): number | undefined {
  if (ratios.length < FEW) return undefined;
  const distance = quantile(ratios, 0.75) - quantile(ratios, 0.25);
  return (MEDIAN_ERROR * distance) / median(ratios) / Math.sqrt(ratios.length);
}

function disturbed(when: string, { disturbance }: MeasuredRow): string | undefined {
  const reason = disturbance && whyNotQuiet(disturbance);
  return reason && `not quiet ${when}: ${reason}`;
}

/** What differs between the machines, or their software; empty if nothing does. */
export function differences({ machine: before }: Run, { machine: after }: Run): string[] {
  return (['cpu', 'cpus', 'kernel', 'node'] as const)
    .filter((name) => before[name] !== after[name])
    .map((name) => `${name} ${after[name]}, before ${before[name]}`);
}

/** A table for people. */
export function changesText(changes: readonly Change[]): string {
  return changes.map(changeLine).join('\n');
}

function changeLine({ name, verdict, better, noise, note }: Change): string {
  const percent = (part: number | undefined) =>
    part === undefined ? '-' : `${(part * 100).toFixed(1)} %`;
  const sign = better !== undefined && better > 0 ? '+' : '';
  const columns = [`${sign}${percent(better)}`.padStart(9), percent(noise).padStart(8)];
  return `${name.padEnd(25)}${columns.join(' ')}  ${verdict.padEnd(8)}  ${note}`.trimEnd();
}
