// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SegmentList } from '../../base/segments.ts';
import type { EngineName } from '../../base/vocabulary.ts';
import { submitDivided } from '../engines/division.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import type { Completion, Job } from '../engines/records.ts';
import type { Speed, Speeds } from '../engines/speeds.ts';

/** A range whose bytes may be overwritten. */
export interface Scratch {
  device: { handle: number; name: string };
  /** Bytes. */
  offset: number;
  /** Bytes, at least {@link SCRATCH_MIN}; more than {@link SCRATCH_MAX} are not used. */
  size: number;
  /** Whether copies there are made persistent, as they are by default. */
  flush: boolean;
  /** Whether DMA reaches it, and is to be measured too. */
  dma: boolean;
}

export const SCRATCH_MIN = 8 * 2 ** 20;
export const SCRATCH_MAX = 64 * 2 ** 20;

const SMALL = 4096;
/** How many times are measured at most, of which the median counts. */
const ROUNDS = 15;
/** How long each of the two series may go on, in milliseconds. */
const BUDGET_MS = 600;
/** A copy that takes longer fails, in milliseconds. */
const TIMEOUT_MS = 1000;

export type MeasuringEngine = Pick<Engine, 'submit' | 'cancel'>;

/** What was measured: without DMA of the CPU alone. */
export type Measured = Pick<Speeds, 'cpu'> | Speeds;

/**
 * Measures how fast copies are from one half of a range to the other; the engine may do other work
 * meanwhile. Small and large copies of each engine take turns, so that what slows one slows all.
 *
 * @throws Problem as a transfer there would end with
 */
export async function measureSpeeds(engine: MeasuringEngine, scratch: Scratch): Promise<Measured> {
  const names: EngineName[] = scratch.dma ? ['cpu', 'dma'] : ['cpu'];
  const alone = names.flatMap((name) => [
    () => timeCopy(engine, scratch, name, SMALL),
    () => timeCopy(engine, scratch, name, largeOf(scratch)),
  ]);
  const [cpuSmall = 0, cpuLarge = 0, dmaSmall, dmaLarge] = await medians(alone);
  const cpu = speedOf(scratch, cpuSmall, cpuLarge);
  if (dmaSmall === undefined || dmaLarge === undefined) return { cpu };

  const speed = speedOf(scratch, dmaSmall, dmaLarge);
  const share = cpu.bytesPerSecond / (cpu.bytesPerSecond + speed.bytesPerSecond);
  const shared = [SMALL * 2, largeOf(scratch)].map(
    (size) => () => timeShared(engine, scratch, size, share),
  );
  const [bothSmall = 0, bothLarge = 0] = await medians(shared);
  return { cpu, dma: speed, both: speedOf(scratch, bothSmall, bothLarge) };
}

function largeOf({ size }: Scratch): number {
  return Math.floor(Math.min(size, SCRATCH_MAX) / 2);
}

/**
 * The line through two points, in nanoseconds. On a busy machine small copies can take as long as
 * large ones, and the line would say petabytes a second, by which `auto` would choose for ever: so
 * the speed is at most twice what the large copy itself had.
 */
function speedOf(scratch: Scratch, small: number, large: number): Speed {
  const ns = Math.max(large - small, large / 2, 1);
  return {
    latencyNs: Math.round(small),
    bytesPerSecond: Math.round(((largeOf(scratch) - SMALL) * 1e9) / ns),
  };
}

async function medians(series: readonly (() => Promise<number>)[]): Promise<number[]> {
  const times: number[][] = series.map(() => []);
  const deadline = performance.now() + BUDGET_MS;
  for (let round = 0; round < ROUNDS && (round === 0 || performance.now() < deadline); round++) {
    for (const [index, time] of series.entries()) times[index]?.push(await time());
    // Lets everything else run that waits for the event loop.
    await nextTurn();
  }
  return times.map((one) => one.sort((a, b) => a - b)[one.length >> 1] ?? 0);
}

function timeCopy(
  engine: MeasuringEngine,
  scratch: Scratch,
  name: EngineName,
  size: number,
): Promise<number> {
  const job = jobOf(scratch, name, size);
  return timeJob(scratch, (done) => engine.submit(job, { done }));
}

function timeShared(
  engine: MeasuringEngine,
  scratch: Scratch,
  size: number,
  share: number,
): Promise<number> {
  const job = jobOf(scratch, 'dma', size);
  const cpuBytes = Math.min(Math.max(Math.round(size * share), 1), size - 1);
  return timeJob(scratch, (done) => submitDivided(engine, job, cpuBytes, { done }));
}

/** @returns nanoseconds */
async function timeJob(
  { device }: Scratch,
  submit: (done: (completion: Completion) => void) => void,
): Promise<number> {
  const began = performance.now();
  const completion = await new Promise<Completion>((resolve) => submit(resolve));
  const ns = (performance.now() - began) * 1e6;
  if (completion.status !== 0) throw jobProblem(completion, device.name);
  return ns;
}

function jobOf({ device, offset, size: room, flush }: Scratch, engine: EngineName, size: number) {
  const dst_offset = offset + Math.floor(room / 2);
  const segments = SegmentList.of({ src_offset: offset, dst_offset, size });
  return {
    source: device.handle,
    destination: device.handle,
    engine,
    priority: 'normal',
    segments,
    flush,
    timeoutMs: TIMEOUT_MS,
  } satisfies Job;
}
