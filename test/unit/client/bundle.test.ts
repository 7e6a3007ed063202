// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
const CLIENT = resolve(ROOT, 'dist/services/client');

/** Run in its own process: a bundler is a native module. */
const BUNDLE = `
  import { rolldown } from 'rolldown';
  const bundle = await rolldown({ input: process.argv[1], platform: 'browser', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'esm' });
  const [{ code, moduleIds, imports }] = output;
  process.stdout.write(JSON.stringify({ chunks: output.length, code, moduleIds, imports }));`;

test('a bundle for the browser has the client and nothing else', () => {
  const args = ['--input-type=module', '-e', BUNDLE, resolve(CLIENT, 'index.js')];
  const { chunks, code, moduleIds, imports } = JSON.parse(
    execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }),
  ) as { chunks: number; code: string; moduleIds: string[]; imports: string[] };
  expect(chunks).toBe(1);
  expect(imports).toEqual([]);
  const own = moduleIds.filter((id) => !id.startsWith('\0'));
  expect(own).toContain(resolve(CLIENT, 'client.js'));
  expect(own.filter((id) => !id.startsWith(`${CLIENT}/`))).toEqual([]);
  expect(own).not.toContain(resolve(CLIENT, 'node.js'));
  // What only Node has would fail there when it is reached.
  expect(code).not.toMatch(/\b(?:Buffer|process|require|setImmediate)\b\s*[.(]/);
});

test('programs import it as dmad/client: in Node with sockets, with types', () => {
  const script = `
    const client = await import('dmad/client');
    process.stdout.write(JSON.stringify([import.meta.resolve('dmad/client'), Object.keys(client)]));`;
  const args = ['--input-type=module', '-e', script];
  const [url, names] = JSON.parse(
    execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }),
  );
  expect(url).toBe(`file://${CLIENT}/node.js`);
  expect(names).toEqual(expect.arrayContaining(['DmadClient', 'DmadError', 'connect']));
  expect(existsSync(resolve(CLIENT, 'node.d.ts'))).toBe(true);
});
