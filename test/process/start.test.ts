// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import packageJson from '../../package.json' with { type: 'json' };
import { expectProblem } from '../support/conformance.ts';
import { Daemon, type DaemonOptions } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { inMounts, whyNot } from '../support/mounts.ts';
import { bearer, writeTokens } from '../support/tokens.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** Starts a daemon that must refuse to, in one line. @returns that line */
async function refuses(
  environment: Record<string, string>,
  code: number,
  options: DaemonOptions = {},
): Promise<string> {
  const exit = await new Daemon(environment, options).exited;
  expect(exit).toMatchObject({ code, signal: null });
  expect(exit.stderr).toMatch(/^dmad: [^\n]+\n$/);
  expect(exit.stderr).not.toMatch(/\bat .*:\d+:\d+/);
  return exit.stderr;
}

const MAIN = fileURLToPath(new URL('../../services/daemon/main.js', import.meta.url));

test('--version prints the version, --help the settings; any other argument is refused', () => {
  const run = (argument: string) =>
    spawnSync(process.execPath, [MAIN, argument], { encoding: 'utf8' });
  const { version } = packageJson;
  expect(run('--version')).toMatchObject({ status: 0, stdout: `dmad ${version}\n`, stderr: '' });
  const help = run('--help');
  expect(help).toMatchObject({ status: 0, stderr: '' });
  expect(help.stdout).toContain('DMAD_STATE_DIR (default: ');
  const refused = run('--verison');
  expect(refused).toMatchObject({ status: 78, stdout: '' });
  expect(refused.stderr).toMatch(/^dmad: unknown argument "--verison": [^\n]+\n$/);
});

describe('exit code 78, for a configuration that is wrong', () => {
  // What is wrong with which value is for the tests of config.ts; here, that the process says so.
  test.each([
    [{ DMAD_PORT: '65536', DMAD_ENGINE: 'gpu', DMAD_UPLOAD_IDLE_SECONDS: '0' }],
    [{ DMAD_PORT: '', DMAD_LOG_LEVEL: 'loud', DMAD_INSECURE: 'yes', DMAD_DRAIN_SECONDS: 'soon' }],
    [{ DMAD_HOST: '', DMAD_DEVICES: '/dev/mem' }],
    [{ DMAD_DEVICES: 'emulated:../../x=1MiB' }],
    [{ DMAD_CONFIG: '/nowhere/dmad.yaml' }],
    [{ DMAD_TOKENS_FILE: '/nowhere/tokens.yaml' }],
    [{ DMAD_TLS_CERT: '/nowhere/cert.pem' }],
  ] as Record<string, string>[][])('%j', async (environment = {}) => {
    const line = await refuses(environment, 78);
    for (const variable of Object.keys(environment)) expect(line).toContain(variable);
  });

  deepTest.each(['/dev/dax77.7', 'emulated:dax0.0=8388607GiB'])(
    'DMAD_DEVICES=%s',
    async (devices) => {
      expect(await refuses({ DMAD_DEVICES: devices }, 78)).toContain('dax');
    },
  );

  test('a state directory that cannot be one', async () => {
    const file = write('file', '');
    expect(await refuses({ DMAD_STATE_DIR: join(file, 'state') }, 78)).toContain('DMAD_STATE_DIR');
  });

  test("a state directory that others may write, such as Kubernetes' volumes", async () => {
    const volume = join(directory, 'volume');
    mkdirSync(volume);
    chmodSync(volume, 0o2777);
    const line = await refuses({ DMAD_STATE_DIR: volume }, 78);
    expect(line).toContain('mode 2777');
    const DMAD_STATE_DIR = join(volume, 'dmad');
    expect(line).toContain(DMAD_STATE_DIR);
    const daemon = new Daemon({ DMAD_STATE_DIR });
    await daemon.ready();
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  deepTest.each(['journal', 'devices', 'lock', 'seen-devices'])(
    'a state directory with something else in the place of "%s"',
    async (name) => {
      const DMAD_STATE_DIR = join(directory, `spoilt-${name}`);
      mkdirSync(join(DMAD_STATE_DIR, name), { recursive: true, mode: 0o700 });
      chmodSync(DMAD_STATE_DIR, 0o700);
      const isDirectory = name === 'journal' || name === 'devices';
      if (isDirectory) {
        rmSync(join(DMAD_STATE_DIR, name), { recursive: true });
        writeFileSync(join(DMAD_STATE_DIR, name), '');
      }
      const line = await refuses(
        { DMAD_STATE_DIR, DMAD_DEVICES: 'auto' },
        name === 'journal' ? 1 : 78,
      );
      expect(line).toContain(join(DMAD_STATE_DIR, name));
    },
  );

  deepTest('an emulated device that would have to shrink', async () => {
    const DMAD_STATE_DIR = join(directory, 'shrink');
    const large = new Daemon({ DMAD_STATE_DIR, DMAD_DEVICES: 'emulated:dax0.0=2MiB' });
    await large.ready();
    await large.stop();
    const small = { DMAD_STATE_DIR, DMAD_DEVICES: 'emulated:dax0.0=1MiB' };
    expect(await refuses(small, 78)).toContain('2097152');
  });

  test('DMA required, where there is none', async () => {
    expect(await refuses({ DMAD_ENGINE: 'dma' }, 78)).toMatch(/DMAD_ENGINE|ioat/);
  });

  deepTest.each(['0.0.0.0', '::'])('beyond loopback, without tokens: %s', async (host) => {
    const line = await refuses({ DMAD_HOST: host }, 78);
    expect(line).toContain(host);
    expect(line).toMatch(/token/i);
  });

  deepTest('an address that is not this machine', async () => {
    await refuses({ DMAD_HOST: '192.0.2.1', DMAD_INSECURE: '1' }, 78);
  });

  deepTest('a socket where a regular file is, which stays', async () => {
    const path = write('precious', 'data');
    expect(await refuses({ DMAD_SOCKET: path }, 78)).toContain(path);
    await refuses({ DMAD_SOCKET: join(directory, 'none', 'socket') }, 78);
  });

  deepTest.each([
    ['an unknown name', 'colour: blue', 'colour'],
    ['a wrong value', 'engine: gpu', 'DMAD_ENGINE'],
    ['no YAML', 'port: [', 'DMAD_CONFIG'],
  ])('a file with %s', async (name, text, told) => {
    const DMAD_CONFIG = write(`${name}.yaml`, text);
    expect(await refuses({ DMAD_CONFIG }, 78)).toContain(told);
  });
});

deepTest('exit code 75, for a state directory that another daemon uses', async () => {
  const first = new Daemon();
  const url = await first.ready();
  const { stateDir } = first;
  expect(await refuses({ DMAD_STATE_DIR: stateDir }, 75)).toContain(stateDir);
  // A death without warning gives it free.
  expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
  await first.stop('SIGKILL');
  const second = new Daemon({ DMAD_STATE_DIR: stateDir });
  await second.ready();
  await second.stop();
  rmSync(stateDir, { recursive: true, force: true });
});

test('exit code 69, for a port or a socket in use', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await refuses({ DMAD_PORT: String(port) }, 69)).toContain(String(port));
  server.close();
  const path = join(directory, 'busy.sock');
  const busy = createServer().listen(path);
  await new Promise((resolve) => busy.once('listening', resolve));
  expect(await refuses({ DMAD_SOCKET: path }, 69)).toContain(path);
  busy.close();
});

describe('where something is missing, one line says what to do', () => {
  const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
  const LIBRARY = join(ROOT, 'native-shim/build/libdma_shim.so');
  const asRoot = process.getuid?.() === 0 ? deepTest : test.skip;

  const hidden = inMounts(`mount --bind /dev/null ${LIBRARY}`);
  (whyNot(hidden) === undefined ? test : test.skip)('the native library', async () => {
    const line = await refuses({}, 78, { wrapper: hidden });
    expect(line).toContain(LIBRARY);
    expect(line).toContain('make -C native-shim');
  });

  asRoot.each([{}, { HOME: '' }, { HOME: 'relative' }] as Record<string, string>[])(
    'a home directory, for a user that /etc/passwd does not have: %j',
    async (environment) => {
      const wrapper = ['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups'];
      const options = { wrapper, unset: ['DMAD_STATE_DIR'] };
      expect(await refuses(environment, 78, options)).toContain('set DMAD_STATE_DIR');
    },
  );

  // How many it takes depends on how Node loads modules.
  deepTest.each([24, 48, 64, 100])('%i open files, unless they are enough', async (limit) => {
    const daemon = new Daemon({}, { wrapper: ['sh', '-c', `ulimit -n ${limit}; exec "$@"`, 'sh'] });
    const url = await daemon.ready().catch(() => undefined);
    if (url !== undefined) {
      expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
      expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
      return;
    }
    const { code, stderr } = await daemon.exited;
    expect(code).toBe(71);
    expect(stderr).toMatch(/^dmad: [^\n]*ulimit -n[^\n]*\n$/);
  });

  test('the compiler, before anything is compiled', () => {
    const copy = join(directory, 'production');
    mkdirSync(join(copy, 'services'), { recursive: true });
    for (const file of ['services/build.mjs', 'package.json', 'tsconfig.json']) {
      copyFileSync(join(ROOT, file), join(copy, file));
    }
    const { status, stderr } = spawnSync(process.execPath, ['services/build.mjs'], {
      ...{ cwd: copy, encoding: 'utf8' },
    });
    expect(status).toBe(78);
    expect(stderr).toMatch(/^dmad: [^\n]*npm ci --include=dev[^\n]*\n$/);
  });

  deepTest('somebody who reads it', async () => {
    const wrapper = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh'];
    const { code } = await new Daemon({ DMAD_PORT: 'x' }, { wrapper }).exited;
    expect(code).toBe(78);
  });
});

describe('a daemon that starts', () => {
  const masked = inMounts('mount -t tmpfs tmpfs /sys; mount -t tmpfs tmpfs /proc');
  (whyNot(masked) === undefined ? test : test.skip)('without /proc and /sys', async () => {
    const daemon = new Daemon({}, { wrapper: masked });
    const url = await daemon.ready();
    const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
    expect((await fetchAnswer(`${url}/transfers`, jsonBody(copy))).status).toBe(201);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  deepTest('takes as long for that as a busy machine makes it', async () => {
    // Fastify gives each plugin 10 s: to such a timer all of them have passed at once.
    const script = `
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (callback, ms, ...given) =>
        setTimeout(callback, ms === 10_000 ? 0 : ms, ...given);`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(script)}`;
    const daemon = new Daemon({ NODE_OPTIONS });
    await daemon.ready();
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  test('tells its port in the ready line, and answers there', async () => {
    const daemon = new Daemon();
    const url = await daemon.ready();
    const line = daemon.log().find((entry) => entry.url === url);
    expect(line).toMatchObject({ host: '127.0.0.1', devices: 2 });
    // A machine that is busy may keep it from being ready at once.
    if (line?.waitingFor === undefined) expect(line?.msg).toMatch(/^dmad is ready: http/);
    else expect(line.waitingFor).toEqual(['event_loop']);
    expect(line?.port).toBeGreaterThan(0);
    expect(url).toBe(`http://127.0.0.1:${line?.port}`);
    expect(await fetchJson(`${url}/readyz`)).toEqual({ ready: true, waiting_for: [] });
    const exit = await daemon.stop();
    expect(exit).toMatchObject({ code: 0, signal: null, stderr: '' });
  });

  test('waits for a device that is named, and says so', async () => {
    const daemon = new Daemon({ DMAD_DEVICES: '/dev/dax77.7', DMAD_INSECURE: '1' });
    const url = await daemon.ready();
    const ready = await fetchAnswer(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(JSON.parse(ready.body.toString())).toEqual({
      ...{ ready: false, waiting_for: ['device dax77.7'] },
    });
    const line = daemon.log().find((entry) => entry.url === url);
    expect(line).toMatchObject({
      waitingFor: ['device dax77.7'],
      msg: expect.stringMatching(/^dmad is listening, but not ready \(.*device dax77\.7\): http/),
    });
    const copy = { device_name: 'dax77.7', src_offset: 0, dst_offset: 4096, size: 4096 };
    const answer = await fetchAnswer(`${url}/transfers`, jsonBody(copy));
    expectProblem(answer, 503, 'device_gone');
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  deepTest('waits for any device where tokens are in use, instead of making files', async () => {
    const DMAD_TOKENS_FILE = writeTokens(directory, [{ name: 'any' }]);
    const daemon = new Daemon({ DMAD_DEVICES: 'auto', DMAD_TOKENS_FILE });
    const url = await daemon.ready();
    const { waiting_for } = await fetchJson(`${url}/readyz`);
    const { devices } = await fetchJson(`${url}/devices`, { headers: bearer('any') });
    // Where this machine has some, they are served.
    expect(devices.length === 0).toBe(waiting_for.includes('a device'));
    expect(devices.filter(({ kind }: { kind: string }) => kind === 'emulated')).toEqual([]);
    await daemon.stop();
  });

  deepTest('says in its log that its devices are emulated', async () => {
    const daemon = new Daemon({ DMAD_DEVICES: 'auto' });
    const url = await daemon.ready();
    const { devices } = await fetchJson(`${url}/devices`);
    expect(devices.length).toBeGreaterThan(0);
    if (devices[0].kind === 'emulated') {
      expect(devices.map(({ name, size }: { name: string; size: number }) => [name, size])).toEqual(
        [
          ['dax0.0', 256 * 2 ** 20],
          ['dax1.0', 256 * 2 ** 20],
        ],
      );
      expect(daemon.log().some(({ msg }) => /emulat/.test(String(msg)))).toBe(true);
    }
    await daemon.stop();
  });

  deepTest('takes its configuration from a file, and the environment first', async () => {
    const DMAD_CONFIG = write(
      'good.yaml',
      'port: 1\ndevices: [emulated:dax3.0=1MiB, emulated:dax4.0=8KiB]\nengine: cpu\ndrain_seconds: 5\n',
    );
    const environment = { DMAD_CONFIG, DMAD_PORT: '0', DMAD_DEVICES: 'emulated:dax5.0=4KiB' };
    const first = new Daemon(environment);
    const names = async (url: string) =>
      (await fetchJson(`${url}/devices`)).devices.map(({ name }: { name: string }) => name);
    expect(await names(await first.ready())).toEqual(['dax5.0']);
    await first.stop();
    const json = write('good.json', JSON.stringify({ devices: 'emulated:dax3.0=1MiB' }));
    // The helper's own DMAD_DEVICES would win over the file's.
    const second = new Daemon({ DMAD_CONFIG: json }, { unset: ['DMAD_DEVICES'] });
    expect(await names(await second.ready())).toEqual(['dax3.0']);
    await second.stop();
  });

  deepTest('warns of variables that mean nothing', async () => {
    const daemon = new Daemon({ DMAD_COLOUR: 'blue' });
    await daemon.ready();
    expect(daemon.log().some(({ msg }) => String(msg).includes('DMAD_COLOUR'))).toBe(true);
    await daemon.stop();
  });

  deepTest('beyond loopback where DMAD_INSECURE says so, with a warning', async () => {
    const daemon = new Daemon({ DMAD_HOST: '0.0.0.0', DMAD_INSECURE: '1' });
    const url = await daemon.ready();
    const warning = daemon.log().find(({ msg }) => String(msg).includes('DMAD_INSECURE'));
    expect(warning).toMatchObject({ level: 40 });
    expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
    await daemon.stop();
  });

  deepTest.each([
    ['0.0.0.0', 'http://127.0.0.1:'],
    ['::', 'http://[::1]:'],
    ['0:0:0:0:0:0:0:1', 'http://[::1]:'],
    ['127.0.0.2', 'http://127.0.0.2:'],
    ['localhost', 'http://localhost:'],
  ])('and listens on %s has a URL in its ready line that can be opened', async (host, begins) => {
    const daemon = new Daemon({ DMAD_HOST: host, DMAD_INSECURE: '1' });
    const url = await daemon.ready();
    expect(url).toContain(begins);
    expect((await fetchAnswer(`${url}/devices`)).status).toBe(200);
    const check = spawnSync(process.execPath, ['dist/services/healthcheck/main.js'], {
      env: { DMAD_HOST: host, DMAD_PORT: new URL(url).port },
      encoding: 'utf8',
    });
    expect(check).toMatchObject({ status: 0, stderr: '' });
    await daemon.stop();
  });

  deepTest('finds the bytes of its emulated devices again', async () => {
    const DMAD_STATE_DIR = join(directory, 'again');
    mkdirSync(DMAD_STATE_DIR);
    const bytes = Buffer.from('outlives a restart');
    const first = new Daemon({ DMAD_STATE_DIR });
    const url = await first.ready();
    await fetchAnswer(`${url}/devices/dax0.0/content?offset=10`, { method: 'PUT', body: bytes });
    const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 10 };
    const answer = await fetchAnswer(
      `${url}/transfers`,
      jsonBody({ ...copy, dst_offset: 0, size: bytes.length }),
    );
    expect(answer.status).toBe(201);
    await first.stop('SIGKILL');
    const second = new Daemon({ DMAD_STATE_DIR });
    const again = await fetchAnswer(`${await second.ready()}/devices/dax1.0/content`, {
      headers: { range: `bytes=0-${bytes.length - 1}` },
    });
    expect(again.body).toEqual(bytes);
    await second.stop();
  });
});
