// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { settingsTable, variableOf } from '../../services/base/settings.ts';
import { readConfig } from '../../services/daemon/config.ts';
import { helpText, PREFIX, SETTINGS } from '../../services/daemon/settings.ts';
import { SETTINGS as FLEET_SETTINGS } from '../../services/fleet/settings.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const NAMES = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];

test("README's table is that of the settings", () => {
  const [, table] =
    /## Configuration\n[^|]*((?:\|.*\n)+)/.exec(readFileSync(`${ROOT}README.md`, 'utf8')) ?? [];
  expect(table).toBe(settingsTable(SETTINGS, PREFIX));
});

test('--help has every setting, as plain text', () => {
  for (const name of NAMES)
    expect(helpText()).toContain(`  ${variableOf(name, PREFIX)} (default: `);
  expect(helpText()).not.toMatch(/`|\]\(/);
});

describe.each(NAMES)('%s', (name) => {
  test('has the default that it is documented with', () => {
    const { [name]: value } = readConfig({ XDG_STATE_HOME: '/state' });
    const documented = SETTINGS[name].default.replaceAll('`', '');
    const shown: unknown = { insecure: '0', faults: '0', devices: 'auto' }[name as string] ?? value;
    if (name === 'state_dir') expect(documented).toMatch(/^\$XDG_STATE_HOME\/dmad;/);
    else if (value === undefined) expect(documented).toMatch(/^unset$|^the daemon's own$/);
    else if (Array.isArray(shown)) expect([documented, shown]).toEqual(['none', []]);
    else expect(documented).toBe(String(shown));
  });
});

test.each(
  [SETTINGS, FLEET_SETTINGS]
    .flatMap((table) => Object.entries(table))
    .map(([name, { usedBy }]) => [name, usedBy]),
)('%s is used by %s, which there is', (_name, usedBy) => {
  expect(existsSync(`${ROOT}services/${usedBy}`)).toBe(true);
});
