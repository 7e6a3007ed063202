// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { readConfig } from '../../services/daemon/config.ts';
import { ROOT, readText, run } from './support.ts';

/** Debian's package "systemd". */
const ANALYZE = 'systemd-analyze';
const UNIT = 'services/systemd/dmad.service';
const OPTIONS = { cwd: ROOT, env: { PATH: process.env.PATH }, timeout: 30_000 };

const unit = readText(UNIT);

test('systemd takes the unit as it stands', async () => {
  expect(await run(ANALYZE, ['verify', UNIT], OPTIONS)).toMatchObject({ code: 0, stderr: '' });
});

test('it is as little exposed as SECURITY.md says', async () => {
  const { stdout } = await run(ANALYZE, ['security', '--offline=true', UNIT], OPTIONS);
  const [, exposure] = /Overall exposure level[^:]*: ([0-9.]+)/.exec(stdout) ?? [];
  const [, said] = /exposure of \*\*([0-9.]+)\*\*/.exec(readText('SECURITY.md')) ?? [];
  expect(exposure).toBeDefined();
  expect(Number(exposure)).toBeLessThanOrEqual(Number(said));
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
