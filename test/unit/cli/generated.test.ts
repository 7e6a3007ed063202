// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { generatedFiles } from '../../../services/cli/generated.ts';
import { leavesOf, manualPage } from '../../../services/cli/lib/manual.ts';
import { buildProgram } from '../../../services/cli/program.ts';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const program = buildProgram(() => async () => {});

test.each(Object.entries(generatedFiles))('%s is what "npm run manual" makes', (path, make) => {
  const text = readFileSync(`${ROOT}${path}`, 'utf8');
  expect(make(text)).toBe(text);
});

test('the manual has every command and option that --help has', () => {
  const manual = manualPage(program, '1').replaceAll('\\-', '-');
  for (const command of leavesOf(program)) {
    for (const { long } of command.options) expect(manual).toContain(`.B ${long}`);
    for (const line of command.helpInformation().split('\n')) {
      const [, option] = /^ {2}(?:-\w, )?(--[\w-]+)/.exec(line) ?? [];
      if (option !== undefined && option !== '--help') expect(manual).toContain(`.B ${option}`);
    }
  }
});

const GROFF = '/usr/bin/groff';

(existsSync(GROFF) ? test : test.skip)('groff finds nothing wrong with it', () => {
  const args = ['-man', '-Tascii', '-ww', '-z', 'services/cli/dmactl.1'];
  const { stderr, status } = spawnSync(GROFF, args, { cwd: ROOT, encoding: 'utf8' });
  expect([stderr, status]).toEqual(['', 0]);
});
