// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { NO_ETCD } from '../support/etcd.ts';

const MAIN = new URL('../../services/fleet/main.js', import.meta.url).pathname;
const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

test('what npm starts from a fresh clone has the dashboard built, without which it does not start', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    scripts: Record<string, string>;
  };
  const servers = Object.values(scripts).filter((script) =>
    /dist\/services\/(?:daemon|fleet)\/main\.js/.test(script),
  );
  expect(servers).toHaveLength(2);
  for (const script of servers) expect(script).toMatch(/build\.mjs programs dashboard &&/);
});

suite(`npm run fleet -- --try${why}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-try-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  deepTest(
    'its commands work as printed, and Ctrl-C leaves nothing',
    async () => {
      const child = spawn(process.execPath, [MAIN, '--try'], {
        ...{ env: { PATH: process.env.PATH, TMPDIR: directory }, timeout: 110_000 },
      });
      const exited = new Promise((resolve) => child.once('close', resolve));
      let text = '';
      try {
        await new Promise<void>((resolve, reject) => {
          child.stdout.on('data', (data) => {
            text += data;
            if (text.includes('Kill a gateway')) resolve();
          });
          child.stderr.on('data', (data) => reject(new Error(String(data))));
          child.once('close', () => reject(new Error(`it ended: ${text}`)));
        });
        const commands = [...text.matchAll(/^ {2}((?:curl|npx) [^\n]*(?:\n {4}.*)*)/gm)].map(
          ([, each]) => each,
        );
        expect(commands).toHaveLength(7);
        for (const command of commands as string[]) {
          const output = await run(command);
          if (command.startsWith('npx')) {
            expect(output).toMatch(
              /^copy of 4\.00 MiB hosta\/dax0\.0:0 to hostb\/dax1\.0:0: succeeded/,
            );
            continue;
          }
          const answer = JSON.parse(output);
          expect(answer).not.toHaveProperty('code');
          const batch = command.includes('/batch');
          if (batch) expect(answer.transfers).toHaveLength(2);
          else if (command.includes('-d ')) expect(answer).toMatchObject({ status: 'succeeded' });
        }
      } finally {
        child.kill('SIGINT');
      }
      expect(await exited).toBe(0);
      expect(readdirSync(directory)).toEqual([]);
    },
    120_000,
  );

  function run(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      // npm exec, under which the tests may run, would have npx install its package again.
      const { npm_config_package: _, ...env } = process.env;
      const shell = spawn('bash', ['-ec', command], { timeout: 60_000, env });
      let output = '';
      shell.stdout.on('data', (data) => {
        output += data;
      });
      shell.once('close', (code) => (code === 0 ? resolve(output) : reject(new Error(command))));
    });
  }
});

test('npm run fleet -- --try says what to do if there is no etcd', async () => {
  // A PATH without one.
  const directory = mkdtempSync(join(tmpdir(), 'dmad-path-'));
  const wrapper = ['/usr/bin/env', `PATH=${directory}`];
  const trial = new Daemon({}, { main: MAIN, args: ['--try'], wrapper });
  const { code, stderr } = await trial.exited;
  rmSync(directory, { recursive: true });
  expect([code, stderr]).toEqual([78, expect.stringContaining('apt install etcd-server')]);
});
