// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXIT_CODES, StartError } from '../../services/base/start-error.ts';
import { type Config, readConfig } from '../../services/daemon/config.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let files = 0;
function file(content: string): string {
  const path = join(directory, `${files++}.yaml`);
  writeFileSync(path, content);
  return path;
}

const read = (environment: Record<string, string>): Config =>
  readConfig({ XDG_STATE_HOME: '/var/tmp/state', ...environment });

function failure(environment: Record<string, string>): string {
  try {
    read(environment);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    const { exitCode, message } = error as StartError;
    expect(exitCode).toBe(78);
    expect(message).not.toMatch(/[\r\n]/);
    return message;
  }
  throw new Error('nothing was thrown');
}

describe('readConfig', () => {
  test('has a default for all', () => {
    expect(read({})).toEqual({
      host: '127.0.0.1',
      port: 8080,
      state_dir: '/var/tmp/state/dmad',
      engine: 'auto',
      devices: { kind: 'auto' },
      insecure: false,
      faults: false,
      allowed_hosts: [],
      log_level: 'info',
      drain_seconds: 30,
      upload_idle_seconds: 10,
      download_idle_seconds: 300,
      unknown_variables: [],
    });
  });

  test('keeps state where the system keeps it', () => {
    const root = process.getuid?.() === 0;
    const home = readConfig({}).state_dir;
    if (root) expect(home).toBe('/var/lib/dmad');
    else expect(home).toMatch(/\.local\/state\/dmad$/);
    expect(readConfig({ XDG_STATE_HOME: '' }).state_dir).toBe(home);
    expect(read({ DMAD_STATE_DIR: 'here' }).state_dir).toBe(join(process.cwd(), 'here'));
  });

  test.each<[string, string, keyof Config, unknown]>([
    ['DMAD_HOST', '::1', 'host', '::1'],
    ['DMAD_PORT', '0', 'port', 0],
    ['DMAD_PORT', '65535', 'port', 65_535],
    ['DMAD_PORT', '0080', 'port', 80],
    ['DMAD_SOCKET', '/run/dmad.sock', 'socket', '/run/dmad.sock'],
    ['DMAD_STATE_DIR', '/srv/dmad/../x', 'state_dir', '/srv/x'],
    ['DMAD_ENGINE', 'cpu', 'engine', 'cpu'],
    ['DMAD_ENGINE', 'dma', 'engine', 'dma'],
    ['DMAD_DEVICES', 'auto', 'devices', { kind: 'auto' }],
    [
      'DMAD_DEVICES',
      '/dev/dax0.0,emulated:dax9.0=256MiB',
      'devices',
      {
        kind: 'list',
        devices: [
          { kind: 'devdax', name: 'dax0.0' },
          { kind: 'emulated', name: 'dax9.0', size: 268_435_456 },
        ],
      },
    ],
    ['DMAD_INSECURE', '1', 'insecure', true],
    ['DMAD_INSECURE', 'true', 'insecure', true],
    ['DMAD_INSECURE', '0', 'insecure', false],
    ['DMAD_INSECURE', 'false', 'insecure', false],
    ['DMAD_ALLOWED_HOSTS', 'A.example, b.example,,', 'allowed_hosts', ['a.example', 'b.example']],
    ['DMAD_ALLOWED_HOSTS', 'pmem_dmad', 'allowed_hosts', ['pmem_dmad']],
    [
      'DMAD_ALLOWED_HOSTS',
      'dmad.example.com.,FD00:0::1',
      'allowed_hosts',
      ['dmad.example.com', 'fd00::1'],
    ],
    ['DMAD_HOST', 'dmad_1.example.', 'host', 'dmad_1.example.'],
    ['DMAD_LOG_LEVEL', 'trace', 'log_level', 'trace'],
    ['DMAD_DRAIN_SECONDS', '0', 'drain_seconds', 0],
    ['DMAD_UPLOAD_IDLE_SECONDS', '1', 'upload_idle_seconds', 1],
    ['DMAD_DOWNLOAD_IDLE_SECONDS', '86400', 'download_idle_seconds', 86_400],
  ])('%s=%s', (variable, value, name, expected) => {
    expect(read({ [variable]: value })[name]).toEqual(expected);
    // The same name in the file means the same.
    const path = file(`${variable.slice('DMAD_'.length).toLowerCase()}: ${JSON.stringify(value)}`);
    expect(read({ DMAD_CONFIG: path })[name]).toEqual(expected);
  });

  test.each([
    ['DMAD_HOST', ''],
    ['DMAD_HOST', '.'],
    ['DMAD_HOST', 'a..'],
    ['DMAD_HOST', '-a'],
    ['DMAD_ALLOWED_HOSTS', 'a.example:80'],
    ['DMAD_PORT', ''],
    ['DMAD_PORT', '65536'],
    ['DMAD_PORT', '-1'],
    ['DMAD_PORT', '80 '],
    ['DMAD_PORT', '0x50'],
    ['DMAD_PORT', '8080.0'],
    ['DMAD_PORT', '9'.repeat(400)],
    ['DMAD_SOCKET', ''],
    ['DMAD_STATE_DIR', ''],
    ['DMAD_ENGINE', 'DMA'],
    ['DMAD_ENGINE', ''],
    ['DMAD_DEVICES', ''],
    ['DMAD_DEVICES', 'dax0.0,dax0.0'],
    ['DMAD_DEVICES', '/dev/mem\nand more'],
    ['DMAD_TOKENS_FILE', ''],
    ['DMAD_INSECURE', 'yes'],
    ['DMAD_INSECURE', ''],
    ['DMAD_LOG_LEVEL', 'loud'],
    ['DMAD_DRAIN_SECONDS', '86401'],
    ['DMAD_DRAIN_SECONDS', '1.5'],
    ['DMAD_UPLOAD_IDLE_SECONDS', '0'],
    ['DMAD_UPLOAD_IDLE_SECONDS', '3601'],
  ])('%s=%p is refused in one line that names it', (variable, value) => {
    expect(failure({ [variable]: value })).toContain(`${variable}:`);
    const name = variable.slice('DMAD_'.length).toLowerCase();
    const path = file(JSON.stringify({ [name]: value }));
    expect(failure({ DMAD_CONFIG: path })).toContain(`${variable}:`);
  });

  test('names everything that is wrong at once', () => {
    const message = failure({ DMAD_PORT: 'x', DMAD_ENGINE: 'y', DMAD_LOG_LEVEL: 'z' });
    for (const variable of ['DMAD_PORT', 'DMAD_ENGINE', 'DMAD_LOG_LEVEL']) {
      expect(message).toContain(`${variable}:`);
    }
  });

  test('DMAD_SOCKET_GROUP is of no use by itself', () => {
    expect(failure({ DMAD_SOCKET_GROUP: 'dmad' })).toContain('DMAD_SOCKET_GROUP needs DMAD_SOCKET');
  });

  test('lists unknown variables that begin with its prefix, and no others', () => {
    const config = read({
      DMAD_PROT: '1',
      DMAD_: '2',
      DMAD_CONSTRUCTOR: '3',
      DMAD___PROTO__: '4',
      DMAD_TOSTRING: '5',
      DMADX: '6',
      PORT: '7',
      dmad_port: '8',
    });
    expect(config.unknown_variables.sort()).toEqual([
      'DMAD_',
      'DMAD_CONSTRUCTOR',
      'DMAD_PROT',
      'DMAD_TOSTRING',
      'DMAD___PROTO__',
    ]);
    expect(config.port).toBe(8080);
  });

  describe('DMAD_CONFIG', () => {
    test('takes YAML with numbers, booleans and lists as such', () => {
      const path = file(`
# a comment
port: 9090
insecure: true
devices: [dax0.0, "emulated:dax9.0=4KiB"]
allowed_hosts:
  - a.example
  - b.example
`);
      expect(read({ DMAD_CONFIG: path })).toMatchObject({
        port: 9090,
        insecure: true,
        devices: { kind: 'list', devices: [{ name: 'dax0.0' }, { name: 'dax9.0', size: 4096 }] },
        allowed_hosts: ['a.example', 'b.example'],
      });
    });

    test('takes JSON, and an empty file', () => {
      expect(read({ DMAD_CONFIG: file('{"port": 7}') }).port).toBe(7);
      expect(read({ DMAD_CONFIG: file('') }).port).toBe(8080);
      expect(read({ DMAD_CONFIG: file('# nothing\n') }).port).toBe(8080);
    });

    test('gives way to the environment, name by name', () => {
      const path = file('port: 1\nhost: "::1"');
      expect(read({ DMAD_CONFIG: path, DMAD_PORT: '2' })).toMatchObject({ port: 2, host: '::1' });
      // What the environment replaces need not be right.
      expect(read({ DMAD_CONFIG: file('port: x'), DMAD_PORT: '2' }).port).toBe(2);
    });

    test('refuses names that it does not know', () => {
      for (const name of ['prot', 'DMAD_PORT', 'config', 'state-dir', 'constructor', '__proto__']) {
        const message = failure({ DMAD_CONFIG: file(`${name}: 1`) });
        expect(message).toContain('DMAD_CONFIG');
        expect(message).toContain(name);
      }
    });

    test.each([
      ['a list', '- port'],
      ['a word', 'port'],
      ['no YAML', 'port: [1'],
      ['several documents', 'port: 1\n---\nport: 2'],
      ['a name twice', 'port: 1\nport: 2'],
    ])('refuses %s', (_what, content) => {
      expect(failure({ DMAD_CONFIG: file(content) })).toContain('DMAD_CONFIG');
    });

    test('refuses values that are no text, and names the variable', () => {
      expect(failure({ DMAD_CONFIG: file('port: {a: 1}') })).toContain('DMAD_PORT:');
      expect(failure({ DMAD_CONFIG: file('host:') })).toContain('DMAD_HOST:');
    });

    test('refuses a file that is not there', () => {
      expect(failure({ DMAD_CONFIG: join(directory, 'none') })).toContain('DMAD_CONFIG');
      expect(failure({ DMAD_CONFIG: '' })).toContain('DMAD_CONFIG');
      expect(failure({ DMAD_CONFIG: directory })).toContain('DMAD_CONFIG');
    });
  });
});

describe('StartError', () => {
  test('has the exit codes of sysexits', () => {
    expect(EXIT_CODES).toEqual({
      failure: 1,
      address_in_use: 69,
      resources: 71,
      state_in_use: 75,
      configuration: 78,
    });
    expect(new StartError('state_in_use', 'a\n b').message).toBe('a  b');
  });
});
