// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { readConfig } from '../../services/daemon/config.ts';
import { ROOT, readText, run } from './support.ts';

/** Debian's package "systemd". */
const ANALYZE = 'systemd-analyze';
const UNIT = 'services/systemd/dmad.service';
const OPTIONS = { cwd: ROOT, env: { PATH: process.env.PATH }, timeout: 30_000 };

const unit = readText(UNIT);

test('systemd takes the unit as it stands', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-unit-'));
  try {
    // The package is not installed here: its command and its manual page are missing.
    const path = join(directory, 'dmad.service');
    writeFileSync(path, unit.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'));
    const result = await run(ANALYZE, ['verify', '--man=no', path], OPTIONS);
    expect(result).toMatchObject({ code: 0, stderr: '' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('it is as little exposed as SECURITY.md says', async () => {
  const { stdout } = await run(ANALYZE, ['security', '--offline=true', UNIT], OPTIONS);
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

test('systemd hears from the daemon itself whether it is ready, and whether it still runs', () => {
  expect(unit).toMatch(/^Type=notify$/m);
  expect(unit).toMatch(/^WatchdogSec=[1-9]/m);
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
