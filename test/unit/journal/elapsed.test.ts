// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  certainlyPassedMs,
  ElapsedClock,
  type Reading,
  readClocks,
} from '../../../services/daemon/journal/elapsed.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A host that is started, goes on, is off, and has its wall clock set. */
class Host {
  realMs = 0;
  #boots = 1;
  #bootedMs = 0;
  #wallOffMs = 0;

  get reading(): Reading {
    return {
      boot_id: `boot ${this.#boots}`,
      uptime_ms: this.realMs - this.#bootedMs,
      wall_ms: this.realMs + this.#wallOffMs,
    };
  }

  pass(ms: number): void {
    this.realMs += ms;
  }

  restart(offMs: number): void {
    this.realMs += offMs;
    this.#bootedMs = this.realMs;
    this.#boots++;
  }

  setWall(byMs: number): void {
    this.#wallOffMs += byMs;
  }
}

type Step = { kind: 'pass' | 'restart' | 'setWall'; ms: number };
const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('pass' as const), ms: fc.nat(DAY_MS) }),
    fc.record({ kind: fc.constantFrom('restart' as const), ms: fc.nat(DAY_MS) }),
    fc.record({
      kind: fc.constantFrom('setWall' as const),
      ms: fc.integer({ min: -400 * DAY_MS, max: 400 * DAY_MS }),
    }),
  ),
  { maxLength: 12 },
);

describe('certainlyPassedMs', () => {
  test('is never more than what has passed, whatever is done to the clocks', () => {
    fc.assert(
      fc.property(steps, (given: Step[]) => {
        const host = new Host();
        host.pass(HOUR_MS);
        const from = host.reading;
        const began = host.realMs;
        for (const { kind, ms } of given) host[kind](ms);
        const passed = certainlyPassedMs(from, host.reading);
        expect(passed).toBeGreaterThanOrEqual(0);
        expect(passed).toBeLessThanOrEqual(host.realMs - began);
      }),
    );
  });

  test('is exact while the host is up, whatever the wall clock says', () => {
    fc.assert(
      fc.property(steps, (given: Step[]) => {
        const host = new Host();
        const from = host.reading;
        for (const { kind, ms } of given) if (kind !== 'restart') host[kind](ms);
        expect(certainlyPassedMs(from, host.reading)).toBe(host.realMs);
      }),
    );
  });

  test('across a start of the host counts the time since then', () => {
    const host = new Host();
    const from = host.reading;
    host.restart(HOUR_MS);
    host.pass(3 * HOUR_MS);
    expect(certainlyPassedMs(from, host.reading)).toBe(3 * HOUR_MS);
    host.setWall(-2 * HOUR_MS);
    expect(certainlyPassedMs(from, host.reading)).toBe(2 * HOUR_MS);
    host.setWall(-DAY_MS);
    expect(certainlyPassedMs(from, host.reading)).toBe(0);
    host.setWall(400 * DAY_MS);
    expect(certainlyPassedMs(from, host.reading)).toBe(3 * HOUR_MS);
  });

  test('an uptime that began again is that of another container', () => {
    const from = { boot_id: 'boot 1', uptime_ms: DAY_MS, wall_ms: 0 };
    const to = { boot_id: 'boot 1', uptime_ms: 5000, wall_ms: HOUR_MS };
    expect(certainlyPassedMs(from, to)).toBe(5000);
  });
});

describe('ElapsedClock', () => {
  const rowsOf = (anchor: object): [string, string][] => [['clock', JSON.stringify(anchor)]];

  test('goes on where the last one was', () => {
    const now = readClocks();
    const anchor = { ...now, uptime_ms: now.uptime_ms - 5000, elapsed_ms: DAY_MS };
    const clock = new ElapsedClock([['format', '1'], ...rowsOf(anchor)], now);
    expect(Math.abs(clock.now() - DAY_MS - 5000)).toBeLessThan(1000);
    const before = clock.now();
    const next = new ElapsedClock(clock.row() as Map<string, string>);
    expect(next.now()).toBeGreaterThanOrEqual(before - 20);
    expect(next.now()).toBeLessThan(before + 1000);
  });

  test('begins at 0 where there was none, or none that can be read', () => {
    for (const rows of [[], [['clock', '{"torn']], rowsOf({ boot_id: 'x' })] as [
      string,
      string,
    ][][]) {
      expect(new ElapsedClock(rows).now()).toBeLessThan(1000);
    }
  });

  test("reads this host's clocks", () => {
    const { boot_id, uptime_ms, wall_ms } = readClocks();
    expect(boot_id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    const [seconds] = readFileSync('/proc/uptime', 'latin1').split(' ');
    expect(Math.abs(uptime_ms - Number(seconds) * 1000)).toBeLessThan(1000);
    expect(Math.abs(wall_ms - Date.now())).toBeLessThan(1000);
  });
});
