// SPDX-License-Identifier: Apache-2.0
/**
 * npm run bench -- [--json FILE] [--plots DIRECTORY] [--only NAME,…] [--compare FILE [--with FILE]]: see
 * README.md here.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { changesText, compareRuns, differences, type Run, readRun } from './compare.ts';
import { CPU_ROWS, cpuRow, NGINX_ROW, nginxRow, RATE_ROWS, rateRow } from './content.ts';
import { Workshop } from './copier.ts';
import { BEST_LOOP_ROWS, bestLoopRow, ENGINE_ROWS, engineRow, FIO_ROWS, fioRow } from './engine.ts';
import { type Row, skipped, Unavailable } from './figures.ts';
import { FLEET_ROWS, fleetRows } from './fleet.ts';
import {
  DIGESTS_ROWS,
  digestsRow,
  LARGE_ROW,
  largeRow,
  SEGMENT_ROWS,
  SMALL_ROWS,
  segmentRow,
  smallRows,
} from './http.ts';
import { describeMachine, machineText } from './machine.ts';
import { ratioPlot } from './plot.ts';
import { disturbanceBetween, readCpuTimes, whyNotQuiet } from './quiet.ts';
import { REPLICATION_ROWS, replicationRow } from './replication.ts';
import {
  DASHBOARDS_ROW,
  dashboardsRow,
  QUEUE_ROW,
  queueRow,
  STREAMS_ROW,
  streamsRow,
} from './scale.ts';
import {
  DIGEST_LAG_ROW,
  digestLagRow,
  HOUR_ROW,
  hourRow,
  LAG_ROW,
  lagRow,
  MEMORY_ROW,
  MIXED_ROW,
  memoryRow,
  mixedRow,
  START_ROWS,
  startRows,
} from './service.ts';

/** Rows that are measured together, or each by itself. */
interface Measurement {
  names: readonly string[];
  measure(workshop: Workshop): Promise<Row | Row[]> | Row;
}

const each = (
  names: readonly string[],
  measure: (workshop: Workshop, name: string) => Promise<Row> | Row,
): Measurement[] =>
  names.map((name) => ({ names: [name], measure: (workshop) => measure(workshop, name) }));

const MEASUREMENTS: readonly Measurement[] = [
  ...each(ENGINE_ROWS, engineRow),
  ...each(BEST_LOOP_ROWS, bestLoopRow),
  ...each(FIO_ROWS, fioRow),
  ...each([LARGE_ROW], largeRow),
  { names: SMALL_ROWS, measure: smallRows },
  ...each(SEGMENT_ROWS, segmentRow),
  ...each(CPU_ROWS, cpuRow),
  ...each(RATE_ROWS, rateRow),
  ...each([NGINX_ROW], nginxRow),
  ...each(DIGESTS_ROWS, digestsRow),
  ...each(REPLICATION_ROWS, replicationRow),
  ...each([MIXED_ROW], mixedRow),
  ...each([LAG_ROW], lagRow),
  ...each([DIGEST_LAG_ROW], digestLagRow),
  { names: START_ROWS, measure: startRows },
  ...each([MEMORY_ROW], memoryRow),
  ...each([QUEUE_ROW], queueRow),
  ...each([STREAMS_ROW], streamsRow),
  ...each([DASHBOARDS_ROW], dashboardsRow),
  { names: FLEET_ROWS, measure: fleetRows },
  ...each([HOUR_ROW], hourRow),
];

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    plots: { type: 'string' },
    only: { type: 'string' },
    compare: { type: 'string' },
    with: { type: 'string' },
  },
});
// Before anything is measured: a file that cannot be read would show only at the end.
const earlier = values.compare === undefined ? undefined : readRun(values.compare);
if (earlier !== undefined && values.with !== undefined) {
  process.exit(report(earlier, readRun(values.with)));
}
const known = MEASUREMENTS.flatMap(({ names }) => names);
// What takes minutes, or an etcd.
const BY_NAME = [HOUR_ROW, ...FLEET_ROWS];
const wanted = values.only?.split(',') ?? known.filter((name) => !BY_NAME.includes(name));
const unknown = wanted.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no such row: ${unknown.join(', ')}; there are ${known.join(', ')}\n`);
  process.exit(2);
}

const machine = describeMachine();
process.stdout.write(`${machineText(machine)}; load ${machine.load_average}\n\n`);
process.stdout.write(`${line('name', 'value', 'peer', 'ratio', 'spread')}  peer is\n`);

const workshop = new Workshop();
const rows: Row[] = [];
try {
  for (const measurement of MEASUREMENTS) {
    if (!measurement.names.some((name) => wanted.includes(name))) continue;
    const before = readCpuTimes();
    const measured = [await attempt(measurement)].flat();
    const disturbance = disturbanceBetween(before, readCpuTimes());
    for (const one of measured.filter(({ name }) => wanted.includes(name))) {
      const row = one.value === null ? one : { ...one, disturbance };
      rows.push(row);
      process.stdout.write(`${rowLine(row)}\n`);
    }
  }
} finally {
  workshop.close();
}

if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify({ machine, rows }, null, 2)}\n`);
}
if (values.plots !== undefined) {
  mkdirSync(values.plots, { recursive: true });
  const plots = {
    engine: rows.filter(({ name }) => /^(engine|best|fill|compare|fio)_/.test(name)),
    service: rows.filter(({ name }) => !/^(engine|best|fill|compare|fio)_/.test(name)),
  };
  for (const [name, drawn] of Object.entries(plots)) {
    if (drawn.length === 0) continue;
    const plot = ratioPlot(name, machineText(machine), drawn);
    writeFileSync(join(values.plots, `${name}.svg`), plot);
  }
}
const disturbed = rows.filter(({ disturbance }) => disturbance && whyNotQuiet(disturbance));
if (disturbed.length > 0) {
  const names = disturbed.map(({ name }) => name).join(', ');
  process.stdout.write(`\nthe machine was not quiet, measure again: ${names}\n`);
}
const failed = rows.some(({ note }) => note.startsWith('failed: '));
const slower = earlier === undefined ? 0 : report(earlier, { machine, rows });
process.exitCode = failed ? 1 : slower;

/** Says what has changed. @returns 1 if anything has become slower */
function report(before: Run, after: Run): number {
  const changes = compareRuns(before, after);
  process.stdout.write(`\n${'name'.padEnd(25)}   better    noise  verdict\n`);
  process.stdout.write(`${changesText(changes)}\n`);
  for (const difference of differences(before, after)) {
    process.stdout.write(`another machine or other software: ${difference}\n`);
  }
  return changes.some(({ verdict }) => verdict === 'slower') ? 1 : 0;
}

/** One that fails does not take the others' figures along. */
async function attempt({ names, measure }: Measurement): Promise<Row | Row[]> {
  try {
    return await measure(workshop);
  } catch (error) {
    const { message } = error as Error;
    const why = error instanceof Unavailable ? message : `failed: ${message}`;
    return names.map((name) => skipped(name, why));
  }
}

function rowLine({ name, value, unit, peer, ratio, spread, note, disturbance }: Row): string {
  const number = (figure: number | null, digits: number) => figure?.toFixed(digits) ?? '-';
  const digits = unit === 'transfers/s' ? 0 : 2;
  const measured = value === null ? '-' : `${number(value, digits)} ${unit}`;
  const figures = line(name, measured, number(peer, digits), number(ratio, 2), number(spread, 2));
  const reason = disturbance && whyNotQuiet(disturbance);
  return `${figures}  ${note}${reason ? ` (not quiet: ${reason})` : ''}`;
}

function line(name: string, value: string, peer: string, ratio: string, spread: string): string {
  const columns = [value.padStart(18), peer.padStart(9), ratio.padStart(6), spread.padStart(6)];
  return `${name.padEnd(21)}${columns.join(' ')}`;
}
