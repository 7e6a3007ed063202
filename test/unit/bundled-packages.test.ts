// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const PROGRAM = `
  const { bundledPackages } = await import('./test/bundled-packages.js');
  console.log(Object.values(bundledPackages)[0]);
`;

test('bundles are of what is installed, be that before or after package-lock.json says so', () => {
  const root = mkdtempSync(join(tmpdir(), 'dmad-bundles-'));
  try {
    mkdirSync(join(root, 'node_modules'));
    cpSync('test/bundled-packages.js', join(root, 'test/bundled-packages.js'));
    writeFileSync(join(root, 'package.json'), '{"type":"module"}');
    const bundleOf = (installed: string, locked: string) => {
      writeFileSync(join(root, 'node_modules/.package-lock.json'), installed);
      writeFileSync(join(root, 'package-lock.json'), locked);
      const options = { cwd: root, encoding: 'utf8' } as const;
      return execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM], options);
    };
    const before = bundleOf('1', '1');
    expect(bundleOf('1', '2')).toBe(before);
    expect(bundleOf('2', '2')).not.toBe(before);
  } finally {
    rmSync(root, { recursive: true });
  }
});
