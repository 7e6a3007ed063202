// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readTokensFile } from '../../services/http/access/tokens-file.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { sha256Of } from '../support/tokens.ts';
import { exchange, request } from '../support/wire.ts';

const MAIN = fileURLToPath(new URL('../../services/token/main.js', import.meta.url));

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  path = join(directory, 'tokens.yaml');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function token(...args: string[]) {
  const env = { PATH: process.env.PATH, DMAD_TOKENS_FILE: path };
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    ...{ env, encoding: 'utf8' },
  });
  return { status, stdout, stderr };
}

describe('npm run token', () => {
  test('add makes a file of mode 0600 that holds no secret, and a daemon takes it', async () => {
    const made = token('add', 'anna', '--scope', 'transfers:read', '--scope', 'metrics:read');
    expect(made.status).toBe(0);
    const secret = made.stdout.trim();
    expect(secret).toMatch(/^dmad_[\w-]{43}$/);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).not.toContain(secret);
    expect(readTokensFile(path)).toEqual([
      {
        ...{ name: 'anna', sha256: sha256Of(secret), limits: {} },
        scopes: ['transfers:read', 'metrics:read'],
      },
    ]);
    const daemon = new Daemon({ DMAD_TOKENS_FILE: path });
    const port = Number(new URL(await daemon.ready()).port);
    const metrics = request('GET /metrics', { authorization: `Bearer ${secret}` });
    expect((await exchange(port, metrics)).status).toBe(200);
    await daemon.stop();
  });

  test('add takes devices and limits, and leaves the rest as it is', () => {
    writeFileSync(
      path,
      `# Ours.\ntokens:\n  - {name: old, sha256: "${sha256Of('x')}", scopes: [content:read]} # keep\n`,
      { mode: 0o600 },
    );
    const { status } = token(
      ...['add', 'bert', '--scope', 'content:write', '--device', '/dev/dax0.0:ro'],
      ...['--device', 'dax1.0:rw:1MiB+0x1000', '--transfers-in-flight', '3', '--peer', 'hostb'],
      ...['--bytes-per-second', '100MiB'],
    );
    expect(status).toBe(0);
    expect(readTokensFile(path)).toMatchObject([
      { name: 'old' },
      {
        name: 'bert',
        devices: [
          { name: 'dax0.0', access: 'ro' },
          { name: 'dax1.0', access: 'rw', ranges: [{ offset: 2 ** 20, size: 4096 }] },
        ],
        peers: ['hostb'],
        limits: { transfers_in_flight: 3, bytes_per_second: 100 * 2 ** 20 },
      },
    ]);
    expect(readFileSync(path, 'utf8')).toMatch(/# Ours\.[\s\S]*# keep/);
    const { stdout } = token('list');
    expect(stdout).toBe(
      'old: content:read; every device\n' +
        'bert: content:write; dax0.0 ro, dax1.0 rw (1MiB+4KiB), from peer hostb, 3 transfers in flight, ' +
        '100MiB per second\n',
    );
  });

  test('remove takes one away, also the last', () => {
    for (const name of ['anna', 'bert']) token('add', name, '--scope', 'metrics:read');
    expect(token('remove', 'anna').status).toBe(0);
    expect(readTokensFile(path).map(({ name }) => name)).toEqual(['bert']);
    expect(token('remove', 'bert').status).toBe(0);
    expect(readTokensFile(path)).toEqual([]);
    expect(token('add', 'carl', '--scope', 'metrics:read').status).toBe(0);
    expect(token('list').stdout).toBe('carl: metrics:read; every device\n');
  });

  test('a link stays one', () => {
    const link = join(directory, 'link.yaml');
    writeFileSync(path, 'tokens: []\n', { mode: 0o600 });
    symlinkSync(path, link);
    expect(token('add', 'anna', '--scope', 'metrics:read', '--file', link).status).toBe(0);
    expect(readTokensFile(path)).toHaveLength(1);
  });

  deepTest.each<[string, string[], RegExp]>([
    ['no command', [], /usage/],
    ['an unknown one', ['show'], /usage/],
    ['an unknown option', ['list', '--all'], /--all/],
    ['no name', ['add', '--scope', 'metrics:read'], /usage/],
    ['a name too many', ['remove', 'anna', 'bert'], /usage/],
    ['no scope', ['add', 'bert'], /scopes/],
    ['an unknown scope', ['add', 'bert', '--scope', 'all'], /scopes/],
    [
      'a name that is taken',
      ['add', 'anna', '--scope', 'metrics:read'],
      /there is a token "anna" already/,
    ],
    ['a name that is none', ['add', 'uid:0', '--scope', 'metrics:read'], /name/],
    ['a device that is none', ['add', 'b', '--scope', 'metrics:read', '--device', 'dax0.0'], /ro/],
    [
      'a range that is none',
      ['add', 'b', '--scope', 'metrics:read', '--device', 'dax0.0:ro:0+x'],
      /size/,
    ],
    [
      'a limit that is none',
      ['add', 'b', '--scope', 'metrics:read', '--transfers-in-flight', 'x'],
      /limits/,
    ],
    ['one that is not there', ['remove', 'bert'], /no token bert/],
    [
      'a file in no directory',
      ['add', 'b', '--scope', 'metrics:read', '--file', '/nowhere/tokens.yaml'],
      /no directory \/nowhere/,
    ],
  ])('%s changes nothing, and says why', (_name, args, message) => {
    token('add', 'anna', '--scope', 'metrics:read');
    const before = readFileSync(path, 'utf8');
    const { status, stdout, stderr } = token(...args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(readFileSync(path, 'utf8')).toBe(before);
    expect(existsSync(`${path}.new`)).toBe(false);
  });

  test('a file that the daemon would refuse is refused', () => {
    writeFileSync(path, 'tokens: []\n');
    chmodSync(path, 0o666);
    expect(token('add', 'anna', '--scope', 'metrics:read')).toMatchObject({ status: 1 });
    expect(readFileSync(path, 'utf8')).toBe('tokens: []\n');
  });

  deepTest('two at a time are kept apart', () => {
    writeFileSync(`${path}.new`, '');
    const { status, stderr } = token('add', 'anna', '--scope', 'metrics:read');
    expect(status).toBe(1);
    expect(stderr).toContain('somebody else');
    expect(existsSync(path)).toBe(false);
  });
});
