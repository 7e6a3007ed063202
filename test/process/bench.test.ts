// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const MAIN = fileURLToPath(new URL('../bench/main.js', import.meta.url));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function bench(...args: string[]) {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 50_000 });
}

test('the bench measures the rows that are asked for, and writes them down', () => {
  const json = join(directory, 'rows.json');
  const plots = join(directory, 'plots');
  const names = ['engine_4KiB', 'segments_4096_engine'];
  const { status, stdout } = bench('--only', names.join(','), '--json', json, '--plots', plots);
  expect({ status, stdout }).toMatchObject({ status: 0 });
  const { machine, rows } = JSON.parse(readFileSync(json, 'utf8'));
  expect(machine).toMatchObject({ cpus: expect.any(Number), node: process.version });
  expect(rows.map(({ name }: { name: string }) => name)).toEqual(names);
  for (const { name, value, peer, ratio, spread } of rows) {
    expect(stdout).toContain(name);
    for (const figure of [value, peer, ratio]) expect(figure).toBeGreaterThan(0);
    expect(spread).toBeGreaterThanOrEqual(0);
  }
  expect(readdirSync(plots).sort()).toEqual(['engine.svg', 'service.svg']);
});

test('a row that there is not is refused, with those that there are', () => {
  const { status, stderr } = bench('--only', 'engine_4KiB,nothing');
  expect(status).toBe(2);
  expect(stderr).toContain('no such row: nothing; there are engine_4KiB, ');
});
