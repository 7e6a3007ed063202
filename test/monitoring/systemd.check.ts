// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { readConfig } from '../../services/daemon/config.ts';
import { PREFIX, SETTINGS } from '../../services/fleet/settings.ts';
import { ROOT, readText, run } from './support.ts';

/** Debian's package "systemd". */
const ANALYZE = 'systemd-analyze';
const OPTIONS = { cwd: ROOT, env: { PATH: process.env.PATH }, timeout: 30_000 };
const UNITS = ['dmad.service', 'dmad-fleet.service'];

const textOf = (name: string) => readText(`services/systemd/${name}`);
const unit = textOf('dmad.service');
const gateway = textOf('dmad-fleet.service');

test.each(UNITS)('systemd takes %s as it stands', async (name) => {
  const unit = textOf(name);
  const directory = mkdtempSync(join(tmpdir(), 'dmad-unit-'));
  try {
    // The package is not installed here: its command and its manual page are missing.
    const path = join(directory, name);
    writeFileSync(path, unit.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'));
    const result = await run(ANALYZE, ['verify', '--man=no', path], OPTIONS);
    expect(result).toMatchObject({ code: 0, stderr: '' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.each(UNITS)('%s is as little exposed as SECURITY.md says', async (name) => {
  const path = `services/systemd/${name}`;
  const { stdout } = await run(ANALYZE, ['security', '--offline=true', path], OPTIONS);
  const [, exposure] = /Overall exposure level[^:]*: ([0-9.]+)/.exec(stdout) ?? [];
  const [, said] = /exposure of \*\*([0-9.]+)\*\*/.exec(readText('SECURITY.md')) ?? [];
  expect(exposure).toBeDefined();
  expect(Number(exposure)).toBeLessThanOrEqual(Number(said));
});

test('it allows what the shim asks the kernel for', async () => {
  const groups = new Map<string, Set<string>>();
  const callsOf = async (name: string): Promise<Set<string>> => {
    if (!name.startsWith('@')) return new Set([name]);
    const known = groups.get(name);
    if (known !== undefined) return known;
    const { stdout } = await run(ANALYZE, ['syscall-filter', name], OPTIONS);
    const members = [...stdout.matchAll(/^ {4}([@\w]+)$/gm)].map(([, member]) => member as string);
    const calls = new Set<string>();
    for (const member of members) for (const call of await callsOf(member)) calls.add(call);
    groups.set(name, calls);
    return calls;
  };
  const allowed = new Set<string>();
  for (const [, not, names] of unit.matchAll(/^SystemCallFilter=(~?)(.*)$/gm)) {
    for (const name of (names as string).split(' ')) {
      for (const call of await callsOf(name)) not ? allowed.delete(call) : allowed.add(call);
    }
  }
  // native-shim/src/os/thread.c and device/numa.c; that they fail is harmless, and so goes unnoticed
  expect([...allowed]).toEqual(expect.arrayContaining(['setpriority', 'sched_setaffinity']));
  expect(allowed.has('reboot')).toBe(false);
});

test.each(UNITS)('systemd hears from %s itself whether it is ready, and still runs', (name) => {
  expect(textOf(name)).toMatch(/^Type=notify$/m);
  expect(textOf(name)).toMatch(/^WatchdogSec=[1-9]/m);
});

test('the daemon sees of /proc what it needs', () => {
  // It would hide /proc/cpuinfo and the boot's id.
  expect(unit).not.toMatch(/^ProcSubset=/m);
});

test('its settings mean something, SIGHUP reloads, and there is time to drain', () => {
  const pairs = [...unit.matchAll(/^Environment=(DMAD_\w+)=(.*)$/gm)].map(
    ([, name, value]): [string, string] => [name ?? '', value ?? ''],
  );
  const config = readConfig(Object.fromEntries(pairs));
  expect(config.unknown_variables).toEqual([]);
  expect(unit).toMatch(/^ExecReload=.*HUP/m);
  const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? [];
  expect(Number(seconds)).toBeGreaterThan(config.drain_seconds);
});

test("all that protects the daemon's host protects the gateway's", () => {
  const settings = (text: string) =>
    text
      .split('\n')
      .filter((line) => /^(Protect|Private|Restrict|Lock|No|System|Cap|Amb|UMask)/.test(line));
  const missing = settings(unit).filter((line) => !settings(gateway).includes(line));
  // Threads that copy.
  expect(missing).toEqual(['SystemCallFilter=setpriority sched_setaffinity']);
  expect(gateway).toMatch(/^PrivateDevices=yes$/m);
});

test("the gateway's settings are read from a file, and its template's mean something", () => {
  expect(gateway).toMatch(/^EnvironmentFile=-\/etc\/dmad\/fleet.environment$/m);
  expect(gateway).toMatch(/^ExecReload=.*HUP/m);
  const names = readText('services/packaging/files/fleet.environment').matchAll(/^# (DMAD_\w+)=/gm);
  const known = Object.keys(SETTINGS).map((name) => `${PREFIX}${name.toUpperCase()}`);
  const named = [...names].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(5);
  expect(known).toEqual(expect.arrayContaining(named));
});
