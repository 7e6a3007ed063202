// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ConnectedClient, connect } from '../../services/client/node.ts';
import { Daemon } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { writePeers } from '../support/peers.ts';

const MIB = 2 ** 20;
const MAIN = resolve('dist/services/cli/main.js');
/** Stands in for the kernel module: it opens the node, and copies in a file. */
const MODULE = resolve('test/support/fake_ioctl.c');
const PYTHON = ['/usr/bin/python3', '/root/.pyenv/shims/python3'].find((path) => existsSync(path));

const text = readFileSync('RECIPES.md', 'utf8');
const recipes = new Map(
  [...text.matchAll(/<!-- recipe: (\w+) -->\n```\w+\n([\s\S]*?)```/g)].map(
    ([, name = '', block = '']) => [name, block],
  ),
);

let directory: string;
let daemon: Daemon;
/** The daemon of another host, which is this machine as well. */
let hostb: Daemon;
let client: ConnectedClient;
let env: Record<string, string>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-recipes-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  hostb = new Daemon(
    { DMAD_DEVICES: 'emulated:dax0.0=16MiB', DMAD_PORT: '0' },
    { lifetimeMs: 600_000 },
  );
  const peer = await hostb.ready();
  daemon = new Daemon(
    {
      DMAD_DEVICES: 'emulated:dax0.0=16MiB,emulated:dax1.0=32MiB',
      DMAD_PORT: String(port),
      DMAD_PEERS_FILE: writePeers(directory, [{ name: 'hostb', url: peer }]),
    },
    { lifetimeMs: 600_000 },
  );
  await daemon.ready();
  client = connect({ url });
  const dmactl = join(directory, 'dmactl');
  writeFileSync(dmactl, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(dmactl, 0o755);
  env = { PATH: `${directory}:${process.env.PATH}`, HOME: directory, DMAD_URL: url };
});
afterAll(async () => {
  await client.close();
  await daemon.stop();
  await hostb.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a block of the page. @returns what it prints */
function run(name: string): string {
  const block = recipes.get(name);
  if (block === undefined) throw new Error(`RECIPES.md has no ${name}`);
  recipes.delete(name);
  return execFileSync('bash', ['--norc', '-euc', block], { cwd: directory, env, encoding: 'utf8' });
}

const crcOf = async (device: string, offset: number) =>
  (await client.checksumContent(device, { offset, size: 16 * MIB })).crc32c;

test('a copy on another host', async () => {
  const there = connect({ url: await hostb.ready() });
  await there.writeContent('dax0.0', new Uint8Array(randomBytes(16 * MIB)));
  const { crc32c } = await there.checksumContent('dax0.0', { offset: 0, size: 16 * MIB });
  await there.close();
  expect(run('replicate')).toMatch(
    /succeeded, 16 of 16 blocks copied.*consistent.*\nID .*\n.* consistent/s,
  );
  expect(await crcOf('dax1.0', 0)).toBe(crc32c);
});

test('snapshot, restore, wipe, move, compare, and the nightly copy', async () => {
  await client.writeContent('dax0.0', new Uint8Array(randomBytes(16 * MIB)));
  const original = await crcOf('dax0.0', 0);
  run('snapshot');
  expect(readFileSync(join(directory, 'snapshot.bin'))).toHaveLength(16 * MIB);

  const wiped = run('wipe');
  const zeros = await crcOf('dax0.0', 0);
  expect(zeros).not.toBe(original);
  expect(wiped).toContain(zeros);

  run('restore');
  expect(await crcOf('dax0.0', 0)).toBe(original);

  run('move');
  expect(await crcOf('dax1.0', 16 * MIB)).toBe(original);
  expect(await crcOf('dax0.0', 0)).toBe(zeros);

  await client.writeContent('dax0.0', new Uint8Array([1, 2, 3]));
  const compare = recipes.get('compare') as string;
  expect(run('compare')).toContain('they differ');
  recipes.set('compare', compare);
  expect(run('compare')).toContain('nothing to do');

  await client.writeContent('dax0.0', new Uint8Array([4, 5, 6]));
  run('nightly');
  expect(await crcOf('dax1.0', 0)).toBe(await crcOf('dax0.0', 0));
  const { transfers } = await client.listTransfers({ page_size: '1' });
  expect(transfers[0]).toMatchObject({ priority: 'low', timeout_ms: 7_200_000 });
  expect(transfers[0]?.labels.nightly).toMatch(/^\d{4}-\d\d-\d\d$/);
});

(PYTHON === undefined ? test.skip : test)('from Python', () => {
  const script = recipes.get('python') as string;
  recipes.delete('python');
  expect(script.trim().split('\n').filter(Boolean).length).toBeLessThanOrEqual(10);
  const printed = execFileSync(PYTHON as string, ['-c', script], { env, encoding: 'utf8' });
  expect(printed).toMatch(/ succeeded \{'method': 'crc32c'/);
});

test('from C, through the ioctl', () => {
  writeFileSync(join(directory, 'ioctl-copy.c'), recipes.get('c') as string);
  recipes.delete('c');
  const [, command = ''] = /`(cc .*ioctl-copy\.c)`/.exec(text) ?? [];
  symlinkSync(resolve('kernel'), join(directory, 'kernel'));
  const compile = command.replace('cc ', 'cc -Wall -Wextra -Werror ');
  execFileSync('sh', ['-c', compile], { cwd: directory });
  execFileSync('cc', ['-shared', '-fPIC', '-o', 'fake.so', MODULE], { cwd: directory });
  const program = join(directory, 'ioctl-copy');
  if (!existsSync('/dev/ioat-dma')) {
    const without = spawnSync(program, { encoding: 'utf8' });
    expect([without.status, without.stderr]).toEqual([1, 'copy: No such file or directory\n']);
  }
  const memory = randomBytes(16 * MIB);
  const device = join(directory, 'device');
  writeFileSync(device, memory);
  const ended = spawnSync(program, {
    env: { LD_PRELOAD: join(directory, 'fake.so'), FAKE_DAX: device },
  });
  expect(ended.status).toBe(0);
  memory.copy(memory, 8 * MIB, 0, MIB);
  expect(readFileSync(device).equals(memory)).toBe(true);
});

test('no recipe is left that nobody has run', () => {
  expect([...recipes.keys()]).toEqual(PYTHON === undefined ? ['python'] : []);
});
