// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import {
  disturbanceBetween,
  ownTicks,
  parseProcess,
  parseTotals,
  readCpuTimes,
  whyNotQuiet,
} from '../../bench/quiet.ts';

test('the totals of /proc/stat are told apart', () => {
  const stat = 'cpu  100 10 50 800 40 3 7 20 5 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 1\n';
  expect(parseTotals(stat)).toEqual({ all: 1030, busy: 170, stolen: 20 });
});

test('a process is read whatever its name is', () => {
  const rest = '1 1 0 -1 4194560 1 1 0 0 11 12 13 14 20 0 1 0 100 1 1';
  expect(parseProcess(`42 (a) S 7 (b)) S 7 ${rest}\n`)).toEqual({ pid: 42, parent: 7, ticks: 50 });
});

test('what the bench and all below it used is its own', () => {
  const processes = [
    { pid: 30, parent: 20, ticks: 4 },
    { pid: 20, parent: 10, ticks: 2 },
    { pid: 10, parent: 1, ticks: 1 },
    { pid: 11, parent: 1, ticks: 100 },
    { pid: 21, parent: 11, ticks: 1000 },
  ];
  expect(ownTicks(processes, 10)).toBe(7);
});

test('a disturbance is what others used, in CPUs', () => {
  const before = { all: 1000, busy: 100, stolen: 0, own: 50 };
  const after = { all: 1400, busy: 320, stolen: 40, own: 200 };
  expect(disturbanceBetween(before, after, 2)).toEqual({ others: 0.35, stolen: 0.2 });
  // The counters of processes and of CPUs do not go together to the tick.
  expect(disturbanceBetween(before, { ...after, own: 300 }, 2).others).toBe(0);
});

test('a quiet machine has no reason not to be', () => {
  expect(whyNotQuiet({ others: 0.08, stolen: 0.02 })).toBeUndefined();
  expect(whyNotQuiet({ others: 0.35, stolen: 0 })).toBe('other processes used 0.35 CPUs');
  expect(whyNotQuiet({ others: 0, stolen: 0.3 })).toBe('the hypervisor withheld 0.30 CPUs');
});

test("this process's own work is not taken for that of others", () => {
  const before = { ...readCpuTimes(), usage: process.cpuUsage() };
  for (const end = performance.now() + 300; performance.now() < end; );
  const { own, busy } = readCpuTimes();
  const { user, system } = process.cpuUsage(before.usage);
  // Ticks are of 10 ms.
  const ticks = (user + system) / 10_000;
  expect(Math.abs(own - before.own - ticks)).toBeLessThanOrEqual(3);
  expect(busy - before.busy).toBeGreaterThanOrEqual(own - before.own - 3);
});
