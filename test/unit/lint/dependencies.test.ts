// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

const CHECKER = fileURLToPath(new URL('../../../../.ci/check-dependencies.mjs', import.meta.url));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dmad-dependencies-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const RULES = `
folders: [src]
include_folders: [include]
symbol_folders: [src]
modules:
  src/top: { may: [src/middle], types: [src/bottom] }
  src/middle: { may: [src/bottom] }
  src/bottom: {}
  src/c: { may: [include] }
  lowest: { files: [src/low/f.c, src/low/g.c] }
  include: {}
packages:
  native: [src/bottom]
`;
const SOURCES = {
  'src/top/a.ts': "import { b } from '../middle/b.ts';\nimport type { C } from '../bottom/c.ts';\n",
  'src/middle/b.ts': "export { c } from '../bottom/c.ts';\nexport const b = 1;\n",
  'src/bottom/c.ts': "import native from 'native';\nimport { d } from './d.ts';\n",
  'src/bottom/d.ts': 'export const d = 1;\n',
  'src/c/e.c': '#include <api.h>\n#include <stdio.h>\n',
  'src/low/f.c': 'int low;\n\nstatic int own;\n\nint *f(int n)\n{\n\treturn n ? &low : &own;\n}\n',
  'src/low/g.c': 'extern int *f(int n);\n\nint g(void)\n{\n\treturn *f(1);\n}\n',
  'include/api.h': 'int api;\n',
};

/** What the checker says of a tree. */
function check(changes: Record<string, string> = {}, rules = RULES) {
  for (const [path, text] of Object.entries({
    ...SOURCES,
    ...changes,
    'dependencies.yaml': rules,
  })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const { status, stderr } = spawnSync(process.execPath, [CHECKER, root], { encoding: 'utf8' });
  return { status, faults: stderr.split('\n').filter(Boolean) };
}

test('sources that keep the rules pass', () => {
  expect(check()).toEqual({ status: 0, faults: [] });
});

describe('fails for', () => {
  test.each([
    ['an import', "import { a } from '../top/a.ts';"],
    ['an import of types', "import type { A } from '../top/a.ts';"],
    ['an export', "export * from '../top/a.ts';"],
    ['an import at run time', "const a = await import('../top/a.ts');"],
    ['an import for its effect', "import '../top/a.ts';"],
  ])('%s that is not listed', (_what, text) => {
    expect(check({ 'src/bottom/d.ts': text })).toEqual({
      status: 1,
      faults: ['src/bottom/d.ts: src/bottom may not depend on src/top (src/top/a.ts)'],
    });
  });

  test('more than types where only types are listed', () => {
    const text = `${SOURCES['src/top/a.ts']}import { type D, d } from '../bottom/d.ts';\n`;
    expect(check({ 'src/top/a.ts': text })).toEqual({
      status: 1,
      faults: ['src/top/a.ts: may import only types from src/bottom (src/bottom/d.ts)'],
    });
  });

  test('an #include that is not listed', () => {
    expect(check({ 'src/c/e.c': '#include <api.h>\n  #  include "../bottom/d.ts"\n' })).toEqual({
      status: 1,
      faults: ['src/c/e.c: src/c may not depend on src/bottom (src/bottom/d.ts)'],
    });
  });

  test.each([
    ['a call', 'int use(void)\n{\n\treturn g();\n}\n', 'g of src/low/g.c'],
    ['a variable', 'int use(void)\n{\n\treturn low;\n}\n', 'low of src/low/f.c'],
    ['a table', 'const struct ops ops = {\n\t.f = f,\n};\n', 'f of src/low/f.c'],
  ])('%s in C that is not listed, whichever header declares it', (_what, text, what) => {
    expect(check({ 'src/c/e.c': `#include <api.h>\n${text}` })).toEqual({
      status: 1,
      faults: [`src/c/e.c: src/c may not depend on lowest (${what})`],
    });
  });

  test.each([
    ['a comment', '/* g(), and "low" */\n// f\n'],
    ['a string', 'const char *text = "g(low)";\n'],
    ['the name of a type', 'struct low *value;\n'],
    ["what is static in another's", 'int use(int own)\n{\n\treturn own;\n}\n'],
  ])('no name in %s', (_what, text) => {
    expect(check({ 'src/c/e.c': `#include <api.h>\n${text}` })).toEqual({ status: 0, faults: [] });
  });

  test('a package that others have to themselves', () => {
    expect(check({ 'src/middle/n.ts': "import native from 'native';" })).toEqual({
      status: 1,
      faults: ['src/middle/n.ts: only src/bottom may import native'],
    });
  });

  test('entries that nothing uses', () => {
    const stale = RULES.replace('src/bottom: {}', 'src/bottom: {}\n  src/gone: {}')
      .replace('{ may: [include] }', '{ may: [include, src/bottom] }')
      .replace('native: [src/bottom]', 'native: [src/bottom, src/top]');
    expect(check({}, stale)).toEqual({
      status: 1,
      faults: [
        'dependencies.yaml: there is no src/gone',
        'dependencies.yaml: src/c does not use src/bottom: remove the entry',
        'dependencies.yaml: src/top does not import native: remove the entry',
      ],
    });
  });

  test('a file of no module', () => {
    expect(check({ 'src/new/n.ts': '' })).toEqual({
      status: 1,
      faults: ['src/new/n.ts: dependencies.yaml has no module for it'],
    });
  });

  test('a circle', () => {
    const rules = RULES.replace('src/bottom: {}', 'src/bottom: { types: [src/top] }');
    const text = "import type { A } from '../top/a.ts';";
    expect(check({ 'src/bottom/d.ts': text }, rules)).toEqual({
      status: 1,
      faults: ['dependencies.yaml: a circle: src/top -> src/middle -> src/bottom -> src/top'],
    });
  });
});
