// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Keyring } from '../../../../services/http/access/keyring.ts';
import {
  fleetTokenSchema,
  parseTokens,
  readTokensFile,
} from '../../../../services/http/access/tokens-file.ts';
import { secretOf, sha256Of, tokensText, writeTokens } from '../../../support/tokens.ts';

const NO_DEVICE = () => undefined;
const HASH = sha256Of('secret');
const token = { name: 'anna', sha256: HASH, scopes: ['transfers:read'] };
const text = (...tokens: unknown[]) => JSON.stringify({ tokens });

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('parseTokens', () => {
  test("takes the contract's example", () => {
    const [parsed, ...more] = parseTokens(`
tokens:
  - name: backup-agent
    sha256: "${HASH.toUpperCase()}"
    scopes: [transfers:read, transfers:write, content:read, content:write, metrics:read]
    devices:                       # absent = every device
      - {name: /dev/dax0.0, ranges: [{offset: 0, size: 1GiB}], access: rw}
    limits: {transfers_in_flight: 64, bytes_per_second: 1GiB}
`);
    expect(more).toEqual([]);
    expect(parsed).toEqual({
      name: 'backup-agent',
      sha256: HASH,
      scopes: [
        'transfers:read',
        'transfers:write',
        'content:read',
        'content:write',
        'metrics:read',
      ],
      devices: [{ name: 'dax0.0', ranges: [{ offset: 0, size: 2 ** 30 }], access: 'rw' }],
      limits: { transfers_in_flight: 64, bytes_per_second: 2 ** 30 },
    });
  });

  test.each<[string, string, RegExp]>([
    ['an empty file', '', /the file/],
    ['a list', '[]', /the file/],
    ['YAML that is none', `tokens:\n  - {name: anna, sha256: "${HASH}`, /line \d+, column \d+/],
    ['one key twice', `tokens: []\ntokens: []`, /line 2/],
    ['many aliases', `a: &a [x]\nb: &b [${'*a,'.repeat(99)}]\nc: [${'*b,'.repeat(99)}]`, /aliases/],
    ['an unknown field', text({ ...token, scope: 'all' }), /tokens\.0: unknown: scope/],
    ['no name', text({ ...token, name: undefined }), /tokens\.0\.name/],
    ['a name with a colon', text({ ...token, name: 'uid:0' }), /tokens\.0\.name/],
    ['the name of nobody', text({ ...token, name: 'anonymous' }), /tokens\.0\.name/],
    ['a hash that is none', text({ ...token, sha256: HASH.slice(1) }), /sha256: must be 64 hex/],
    ['a hash as a number', `tokens: [{name: a, sha256: ${'1'.repeat(64)}, scopes: []}]`, /quotes/],
    ['an unknown scope', text({ ...token, scopes: ['transfers:*'] }), /tokens\.0\.scopes\.0/],
    ['no scope', text({ ...token, scopes: [] }), /tokens\.0\.scopes/],
    ['one name twice', text(token, { ...token, sha256: sha256Of('x') }), /tokens\.1\.name/],
    ['one secret twice', text(token, { ...token, name: 'bert' }), /tokens\.1\.sha256/],
    [
      'one secret twice, spelled otherwise',
      text(token, { ...token, name: 'bert', sha256: HASH.toUpperCase() }),
      /tokens\.1\.sha256/,
    ],
    [
      'no access to a device',
      text({ ...token, devices: [{ name: 'dax0.0' }] }),
      /tokens\.0\.devices\.0\.access/,
    ],
    [
      'a range of no bytes',
      text({
        ...token,
        devices: [{ name: 'dax0.0', access: 'rw', ranges: [{ offset: 0, size: 0 }] }],
      }),
      /ranges\.0\.size/,
    ],
    [
      'a range that is too far out',
      text({
        ...token,
        devices: [
          { name: 'dax0.0', access: 'rw', ranges: [{ offset: 2 ** 53 - 1, size: 2 ** 53 - 1 }] },
        ],
      }),
      /ranges\.0/,
    ],
    ['no transfers at all', text({ ...token, limits: { transfers_in_flight: 0 } }), /limits/],
    ['no bytes at all', text({ ...token, limits: { bytes_per_second: 0 } }), /limits/],
  ])('refuses %s, and quotes nothing', (_name, content, message) => {
    let refusal = '';
    try {
      parseTokens(content);
    } catch (error) {
      refusal = (error as Error).message;
    }
    expect(refusal).toMatch(message);
    expect(refusal).not.toContain('\n');
    expect(refusal.toLowerCase()).not.toContain(HASH.slice(0, 12));
  });
});

describe('readTokensFile', () => {
  test.each([0o620, 0o602, 0o666])('refuses one that others may write: mode %o', (mode) => {
    const path = join(directory, 'loose.yaml');
    writeFileSync(path, text(token));
    chmodSync(path, mode);
    expect(() => readTokensFile(path)).toThrow('chmod');
    chmodSync(path, 0o644);
    expect(readTokensFile(path)).toHaveLength(1);
  });

  test('refuses what is no file, or none of this size', () => {
    expect(() => readTokensFile(directory)).toThrow('regular file');
    expect(() => readTokensFile(join(directory, 'none'))).toThrow('ENOENT');
    const path = join(directory, 'large.yaml');
    writeFileSync(path, '#'.repeat(2 ** 20 + 1), { mode: 0o600 });
    expect(() => readTokensFile(path)).toThrow('larger');
  });
});

describe('a device of a token', () => {
  const devicesOf = (...devices: unknown[]) => parseTokens(text({ ...token, devices }))[0]?.devices;
  const uuid = '9fb5dd70-c631-4a13-becb-7fd18b56ae49';

  test('can be named by its uuid and its physical address, too', () => {
    const device = {
      name: 'dax0.0',
      uuid: uuid.toUpperCase(),
      resource: '0x101200000',
      access: 'ro',
    };
    expect(devicesOf(device)).toEqual([{ ...device, uuid, resource: 0x1_0120_0000 }]);
    expect(devicesOf({ ...device, resource: 0x1_0120_0000 })).toMatchObject([
      { resource: 0x1_0120_0000 },
    ]);
  });

  test.each([{ uuid: '' }, { uuid: 'dax0.0' }, { uuid: null }, { resource: -1 }, { resource: '' }])(
    'is refused with %j',
    (wrong) => {
      expect(() => devicesOf({ name: 'dax0.0', access: 'ro', ...wrong })).toThrow(
        `tokens.0.devices.0.${Object.keys(wrong)[0]}`,
      );
    },
  );
});

describe('Keyring', () => {
  test('finds whose secret it is, and nobody else', () => {
    const keyring = new Keyring(
      writeTokens(directory, [{ name: 'anna' }, { name: 'bert' }]),
      NO_DEVICE,
    );
    expect(keyring.find(secretOf('anna'))?.name).toBe('anna');
    expect(keyring.find(secretOf('bert'))?.name).toBe('bert');
    for (const wrong of [
      '',
      secretOf('carl'),
      `${secretOf('anna')} `,
      sha256Of(secretOf('anna')),
    ]) {
      expect(keyring.find(wrong)).toBeUndefined();
    }
  });

  test('read again, it keeps who stays and breaks off the answers of who does not', () => {
    const path = writeTokens(directory, [{ name: 'stays' }, { name: 'changes' }, { name: 'goes' }]);
    const keyring = new Keyring(path, NO_DEVICE);
    const broken: string[] = [];
    const before = ['stays', 'changes', 'goes'].map((name) => {
      const client = keyring.find(secretOf(name));
      client?.answers.add({ destroy: () => broken.push(name) } as never);
      return client;
    });
    writeTokens(directory, [{ name: 'changes', scopes: ['metrics:read'] }, { name: 'stays' }]);
    keyring.reload();
    expect(broken.sort()).toEqual(['changes', 'goes']);
    expect(keyring.find(secretOf('stays'))).toBe(before[0]);
    expect([...(keyring.find(secretOf('changes'))?.scopes ?? [])]).toEqual(['metrics:read']);
    expect(keyring.find(secretOf('goes'))).toBeUndefined();
  });

  test('what was accepted of a token that is gone keeps its limits', () => {
    const limits = { transfers_in_flight: 2, bytes_per_second: 1024 };
    const path = writeTokens(directory, [{ name: 'goes', limits }, { name: 'stays' }]);
    const keyring = new Keyring(path, NO_DEVICE);
    writeTokens(directory, [{ name: 'stays', limits: { bytes_per_second: 1 } }]);
    keyring.reload();
    expect(keyring.limitsOf('goes')).toEqual({ transfersInFlight: 2, bytesPerSecond: 1024 });
    expect(keyring.limitsOf('stays')).toMatchObject({ bytesPerSecond: 1 });
    expect(keyring.limitsOf('uid:0')).toEqual({});
  });

  test('a broken file changes nothing', () => {
    const path = writeTokens(directory, [{ name: 'anna' }]);
    const keyring = new Keyring(path, NO_DEVICE);
    const client = keyring.find(secretOf('anna'));
    for (const broken of ['tokens: [', tokensText([{ name: 'a' }, { name: 'a' }])]) {
      writeFileSync(path, broken);
      expect(() => keyring.reload()).toThrow();
      expect(keyring.find(secretOf('anna'))).toBe(client);
    }
  });
});

describe("a fleet's tokens", () => {
  const parse = (more: string) =>
    parseTokens(
      `tokens: [{name: a, sha256: "${'0'.repeat(64)}", scopes: ["fleet:admin"]${more}}]`,
      fleetTokenSchema,
    );

  test('name hosts, and may administer them; a daemon takes neither', () => {
    expect(parse(', hosts: [hosta]')[0]).toMatchObject({
      hosts: ['hosta'],
      scopes: ['fleet:admin'],
    });
    const text = `tokens: [{name: a, sha256: "${'0'.repeat(64)}", scopes: ["content:read"], hosts: [a]}]`;
    expect(() => parseTokens(text)).toThrow(/unknown: hosts/);
    expect(() => parseTokens(text.replace('content:read', 'fleet:admin'))).toThrow(/scopes/);
  });

  test('a limit that a fleet does not keep is refused', () => {
    expect(() => parse(', limits: {bytes_per_second: 1}')).toThrow(/bytes_per_second/);
    expect(() => parse(', hosts: [Not-A-Name]')).toThrow(/hosts/);
  });
});
