// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bothFrom, divide, dmaFrom, type Speeds } from '../../../services/daemon/engines/speeds.ts';
import { runs } from '../../support/depth.ts';

const MIB = 2 ** 20;
const IDLE = { cpu: 0, dma: 0 };

/** The CPU begins at once; DMA is three times as fast, and both are faster still. */
const SPEEDS: Speeds = {
  cpu: { latencyNs: 10_000, bytesPerSecond: 2e9 },
  dma: { latencyNs: 40_000, bytesPerSecond: 6e9 },
  both: { latencyNs: 50_000, bytesPerSecond: 9e9 },
};
const SLOW_DMA: Speeds = { ...SPEEDS, dma: { latencyNs: 40_000, bytesPerSecond: 1e9 } };

const speed = fc.record({
  latencyNs: fc.integer({ min: 1, max: 1e9 }),
  bytesPerSecond: fc.integer({ min: 1e6, max: 1e12 }),
});
const speedsOf = fc.record({ cpu: speed, dma: speed, both: speed });
const bytesOf = fc.integer({ min: 1, max: 2 ** 44 });
const pendingOf = fc.record({ cpu: fc.nat(2 ** 40), dma: fc.nat(2 ** 40) });
const nsOf = ({ latencyNs, bytesPerSecond }: Speeds['cpu'], bytes: number) =>
  latencyNs + (bytes * 1e9) / bytesPerSecond;

describe('thresholds', () => {
  test('lie where DMA takes no more than half as long again', () => {
    // 40 µs + x/6 = 15 µs + 1.5 x/2 (in ns and bytes per ns)
    expect(dmaFrom(SPEEDS)).toBe(Math.ceil(25_000 / (0.75 - 1 / 6)));
  });

  test('are not there where the CPU is much faster', () => {
    expect(dmaFrom(SLOW_DMA)).toBeUndefined();
    expect(bothFrom(SLOW_DMA)).toBeUndefined();
  });

  test('are not there for both where both gain little', () => {
    expect(bothFrom(SPEEDS)).toBe(8 * MIB);
    const noGain = { ...SPEEDS, both: { latencyNs: 50_000, bytesPerSecond: 7e9 } };
    expect(bothFrom(noGain)).toBeUndefined();
  });

  test('are where the engines change places, whatever the speeds', () => {
    fc.assert(
      fc.property(speedsOf, (speeds) => {
        const from = dmaFrom(speeds);
        if (from === undefined) {
          // However large: DMA would be too slow there.
          const huge = 2 ** 53;
          expect(nsOf(speeds.dma, huge)).toBeGreaterThan(1.4999 * nsOf(speeds.cpu, huge));
          return;
        }
        const patience = (bytes: number) => nsOf(speeds.dma, bytes) / nsOf(speeds.cpu, bytes);
        expect(patience(from)).toBeLessThan(1.5001);
        if (from > 1) expect(patience(from - 1)).toBeGreaterThan(1.4999);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe('a choice', () => {
  test('on an idle host goes by the threshold', () => {
    const from = dmaFrom(SPEEDS) as number;
    expect(divide(SPEEDS, from - 1, IDLE, true)).toEqual({
      engine: 'cpu',
      cpuBytes: 0,
      reason: 'DMA would take 47.1 µs, the CPU 31.4 µs',
    });
    expect(divide(SPEEDS, from, IDLE, true)).toMatchObject({ engine: 'dma', cpuBytes: 0 });
  });

  test('on a busy host goes by what is under way', () => {
    expect(divide(SPEEDS, 4096, { cpu: 1024 * MIB, dma: 0 }, true)).toMatchObject({
      engine: 'dma',
      reason: expect.stringContaining('under way'),
    });
    expect(divide(SPEEDS, 64 * MIB, { cpu: 0, dma: 1024 * MIB }, true).engine).toBe('cpu');
    // DMA is slower here, but the CPU has enough to do.
    expect(divide(SLOW_DMA, 64 * MIB, { cpu: 1024 * MIB, dma: 0 }, true).engine).toBe('dma');
  });

  test('divides a large copy by what each engine does in a second', () => {
    const { engine, cpuBytes, reason } = divide(SPEEDS, 1024 * MIB, IDLE, true);
    expect(engine).toBe('dma');
    expect(cpuBytes).toBe(256 * MIB);
    expect(reason).toContain(`the last ${256 * MIB} bytes`);
    expect(divide(SPEEDS, 1024 * MIB, IDLE, false).cpuBytes).toBe(0);
    expect(divide(SPEEDS, 1024 * MIB, { cpu: 1, dma: 0 }, true).cpuBytes).toBe(0);
  });

  test('never gives an engine less than nothing or more than all', () => {
    fc.assert(
      fc.property(speedsOf, bytesOf, pendingOf, fc.boolean(), (speeds, bytes, pending, whole) => {
        for (const load of [IDLE, pending]) {
          const { engine, cpuBytes } = divide(speeds, bytes, load, whole);
          if (cpuBytes === 0) continue;
          expect(engine).toBe('dma');
          expect(whole).toBe(true);
          expect(cpuBytes % (2 * MIB)).toBe(0);
          expect(cpuBytes).toBeGreaterThan(0);
          expect(bytes - cpuBytes).toBeGreaterThan(0);
        }
      }),
      { numRuns: runs(5000) },
    );
  });

  test('does not move to an engine that is given more', () => {
    fc.assert(
      fc.property(speedsOf, bytesOf, pendingOf, fc.integer({ min: 1, max: 2 ** 40 }), (...all) => {
        const [speeds, bytes, pending, more] = all;
        fc.pre(pending.cpu + pending.dma > 0);
        const { engine } = divide(speeds, bytes, pending, false);
        const other = engine === 'dma' ? 'cpu' : 'dma';
        const fuller = { ...pending, [other]: pending[other] + more };
        expect(divide(speeds, bytes, fuller, false).engine).toBe(engine);
      }),
      { numRuns: runs(2000) },
    );
  });
});
