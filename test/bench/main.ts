// SPDX-License-Identifier: Apache-2.0
/** npm run bench -- [--json FILE] [--plots DIRECTORY] [--only NAME,…]: see README.md here. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Workshop } from './copier.ts';
import { BEST_LOOP_ROWS, bestLoopRow, ENGINE_ROWS, engineRow, FIO_ROWS, fioRow } from './engine.ts';
import { type Row, skipped } from './figures.ts';
import {
  DIGESTS_ROW,
  digestsRow,
  LARGE_ROW,
  largeRow,
  SEGMENT_ROWS,
  SMALL_ROWS,
  STREAM_ROWS,
  segmentRow,
  smallRows,
  streamRow,
} from './http.ts';
import { describeMachine, machineText } from './machine.ts';
import { ratioPlot } from './plot.ts';
import { REPLICATION_ROW, replicationRow } from './replication.ts';
import { QUEUE_ROW, queueRow, STREAMS_ROW, streamsRow } from './scale.ts';
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
  START_ROW,
  startRow,
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
  ...each(STREAM_ROWS, streamRow),
  ...each([DIGESTS_ROW], digestsRow),
  ...each([REPLICATION_ROW], replicationRow),
  ...each([MIXED_ROW], mixedRow),
  ...each([LAG_ROW], lagRow),
  ...each([DIGEST_LAG_ROW], digestLagRow),
  ...each([START_ROW], startRow),
  ...each([MEMORY_ROW], memoryRow),
  ...each([QUEUE_ROW], queueRow),
  ...each([STREAMS_ROW], streamsRow),
  ...each([HOUR_ROW], hourRow),
];

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    plots: { type: 'string' },
    only: { type: 'string' },
  },
});
const known = MEASUREMENTS.flatMap(({ names }) => names);
// An hour is measured only by name.
const wanted = values.only?.split(',') ?? known.filter((name) => name !== HOUR_ROW);
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
    const measured = [await attempt(measurement)].flat();
    for (const row of measured.filter(({ name }) => wanted.includes(name))) {
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
process.exitCode = rows.some(({ note }) => note.startsWith('failed: ')) ? 1 : 0;

/** One that fails does not take the others' figures along. */
async function attempt({ names, measure }: Measurement): Promise<Row | Row[]> {
  try {
    return await measure(workshop);
  } catch (error) {
    return names.map((name) => skipped(name, `failed: ${(error as Error).message}`));
  }
}

function rowLine({ name, value, unit, peer, ratio, spread, note }: Row): string {
  const number = (figure: number | null, digits: number) => figure?.toFixed(digits) ?? '-';
  const digits = unit === 'transfers/s' ? 0 : 2;
  const measured = value === null ? '-' : `${number(value, digits)} ${unit}`;
  return `${line(name, measured, number(peer, digits), number(ratio, 2), number(spread, 2))}  ${note}`;
}

function line(name: string, value: string, peer: string, ratio: string, spread: string): string {
  const columns = [value.padStart(18), peer.padStart(9), ratio.padStart(6), spread.padStart(6)];
  return `${name.padEnd(21)}${columns.join(' ')}`;
}
