// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import {
  type MeasuringEngine,
  measureSpeeds,
} from '../../../services/daemon/calibration/measure.ts';
import type { Job } from '../../../services/daemon/engines/records.ts';
import { completion } from '../transfers/make-transfer.ts';

const MIB = 2 ** 20;
const scratch = {
  device: { handle: 4, name: 'dax0.0' },
  offset: 3 * MIB,
  size: 9 * MIB,
  flush: true,
  dma: true,
};

/** Ends every job on the next turn. */
function fakeEngine(statusOf: (job: Job) => number = () => 0) {
  const jobs: Job[] = [];
  const engine: MeasuringEngine = {
    submit: (job, listener) => {
      const tag = jobs.push(job);
      const [{ size } = { size: 0 }] = job.segments;
      setImmediate(() =>
        listener.done(completion({ tag, status: statusOf(job), bytesDone: size })),
      );
      return tag;
    },
    cancel: () => {},
  };
  return { engine, jobs };
}

describe('measuring', () => {
  test('touches nothing outside its range', async () => {
    const { engine, jobs } = fakeEngine();
    const speeds = await measureSpeeds(engine, scratch);
    expect(Object.keys(speeds).sort()).toEqual(['both', 'cpu', 'dma']);
    for (const { latencyNs, bytesPerSecond } of Object.values(speeds)) {
      expect(latencyNs).toBeGreaterThan(0);
      expect(bytesPerSecond).toBeGreaterThan(0);
    }
    const half = scratch.size / 2;
    for (const { source, destination, segments, flush, timeoutMs } of jobs) {
      expect({ source, destination, flush }).toEqual({ source: 4, destination: 4, flush: true });
      expect(timeoutMs).toBeLessThanOrEqual(1000);
      for (const { src_offset, dst_offset, size } of segments) {
        expect(src_offset).toBeGreaterThanOrEqual(scratch.offset);
        expect(src_offset + size).toBeLessThanOrEqual(scratch.offset + half);
        expect(dst_offset).toBeGreaterThanOrEqual(scratch.offset + half);
        expect(dst_offset + size).toBeLessThanOrEqual(scratch.offset + scratch.size);
      }
    }
    expect(new Set(jobs.map(({ engine: name }) => name))).toEqual(new Set(['cpu', 'dma']));
  });

  test('makes no speed of noise: small copies that take longer than large ones', async () => {
    const { engine } = fakeEngine();
    const { submit } = engine;
    engine.submit = (job, { done }) => {
      const delayMs = job.segments.bytes < MIB ? 8 : 4;
      return submit(job, { done: (end) => setTimeout(() => done(end), delayMs) });
    };
    const { cpu } = await measureSpeeds(engine, { ...scratch, dma: false });
    // Timers may be early by a millisecond.
    expect(cpu.bytesPerSecond).toBeLessThan((2 * (scratch.size / 2)) / 0.003);
    expect(cpu.bytesPerSecond).toBeGreaterThan(0);
  });

  test('leaves DMA alone where it does not reach the range', async () => {
    const { engine, jobs } = fakeEngine();
    expect(Object.keys(await measureSpeeds(engine, { ...scratch, dma: false }))).toEqual(['cpu']);
    expect(jobs.every(({ engine: name }) => name === 'cpu')).toBe(true);
  });

  test('ends with what a copy ends with', async () => {
    const { engine } = fakeEngine((job) => (job.engine === 'dma' ? -constants.errno.EIO : 0));
    await expect(measureSpeeds(engine, scratch)).rejects.toMatchObject({
      code: 'media_error',
    });
  });
});
