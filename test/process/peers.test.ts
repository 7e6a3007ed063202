// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { silentLog } from '../../services/base/log.ts';
import { StartError } from '../../services/base/start-error.ts';
import { Peers } from '../../services/daemon/replication/peers.ts';
import { type Certificate, makeCertificate } from '../support/certificates.ts';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, jsonBody } from '../support/fetch.ts';
import { Host, MIB, type PeerEntry, writePeers } from '../support/peers.ts';
import { secretOf, writeTokens } from '../support/tokens.ts';

let directory: string;
let ca: Certificate;
let server: Certificate;
let stranger: Certificate;
let client: Certificate;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  ca = makeCertificate(directory, 'ca');
  server = makeCertificate(directory, 'server', ca);
  client = makeCertificate(directory, 'client', ca);
  stranger = makeCertificate(directory, 'stranger');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Why a daemon does not start with these peers. */
function refusalOf(path: string): StartError {
  try {
    new Peers(path, silentLog().logger);
  } catch (error) {
    if (error instanceof StartError) return error;
    throw error;
  }
  throw new Error(`${path} can be used`);
}

const entry = (more: object): string =>
  stringify({ peers: [{ name: 'hostb', url: 'https://hostb:8080', ...more }] });

describe('a peers file that cannot be used: exit code 78, and one line that says why', () => {
  const wrong: [string, string | undefined, RegExp][] = [
    ['that is not there', undefined, /there is no such file/],
    ['that is no YAML', 'peers: [', /it is not valid YAML \(line 1/],
    ['with an unknown field', entry({ user: 'x' }), /unknown: user/],
    ['with a URL of another scheme', entry({ url: 'ftp://hostb' }), /peers\.0\.url: must be http/],
    ['with a password in the URL', entry({ url: 'https://a:b@hostb' }), /without user, password/],
    ['with a certificate without its key', entry({ cert: 'x' }), /cert and key need each other/],
    ['with a CA for plain HTTP', entry({ url: 'http://hostb', ca: 'x' }), /must be https/],
    ['whose token is not there', entry({ token_file: 'nowhere' }), /token_file nowhere: ENOENT/],
    ['whose token is two lines', entry({ token_file: 'two' }), /it must hold one bearer token/],
    ['whose CA is none', entry({ ca: 'two' }), /nothing in PEM in it/],
    [
      'with a name twice',
      stringify({ peers: [1, 2].map(() => ({ name: 'b', url: 'http://localhost' })) }),
      /is another peer's name already/,
    ],
  ];
  test.each(wrong)('one %s', (_what, text, why) => {
    const path = join(directory, 'wrong.yaml');
    rmSync(path, { force: true });
    writeFileSync(join(directory, 'two'), 'secret-one\nsecret-two\n', { mode: 0o600 });
    if (text !== undefined) writeFileSync(path, text, { mode: 0o600 });
    const { exitCode, message } = refusalOf(path);
    expect(exitCode).toBe(78);
    expect(message).not.toMatch(/[\r\n]/);
    expect(message).toContain('DMAD_PEERS_FILE');
    expect(message).toMatch(why);
    expect(message).not.toContain('secret-one');
  });

  test('one that others may write, of which the daemon says so', async () => {
    const path = writePeers(directory, []);
    chmodSync(path, 0o666);
    const { code, stderr } = await new Daemon({ DMAD_PEERS_FILE: path }).exited;
    expect(code).toBe(78);
    expect(stderr).toBe(`dmad: ${refusalOf(path).message}\n`);
    expect(stderr).toContain('writable by its owner alone');
    rmSync(path);
  });
});

test('SIGHUP reads the file again; a broken one changes nothing, and the log says so', async () => {
  const path = writePeers(directory, [{ name: 'first', url: 'http://127.0.0.1:9' }]);
  const daemon = new Daemon({ DMAD_PEERS_FILE: path });
  const url = await daemon.ready();
  const status = async (peer: string) => {
    const body = {
      ...{ peer, src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
      ...{ dst_offset: 0, size: 4096, timeout_ms: 50 },
    };
    return (await fetchAnswer(`${url}/replications`, jsonBody(body))).status;
  };
  expect([await status('first'), await status('second')]).toEqual([502, 422]);
  writeFileSync(path, 'peers: 7');
  daemon.child.kill('SIGHUP');
  await daemon.logged(/peers stay as they were: peers: must be a list/);
  expect([await status('first'), await status('second')]).toEqual([502, 422]);
  writePeers(directory, [{ name: 'second', url: 'http://127.0.0.1:9' }]);
  daemon.child.kill('SIGHUP');
  await daemon.logged(/peers read again/);
  expect([await status('first'), await status('second')]).toEqual([422, 502]);
  await daemon.stop();
});

describe('over TLS, with tokens and client certificates', () => {
  let source: Host;
  let destination: Host;
  beforeAll(async () => {
    source = await Host.make('4MiB', {
      ...{ DMAD_HOST: '0.0.0.0', DMAD_TLS_CERT: server.cert, DMAD_TLS_KEY: server.key },
      ...{ DMAD_TLS_CLIENT_CA: ca.cert, DMAD_SOCKET: join(directory, 'source.sock') },
      DMAD_TOKENS_FILE: writeTokens(directory, [
        { name: 'reader', scopes: ['content:read'] },
        { name: 'blind', scopes: ['metrics:read'] },
      ]),
    });
    destination = await Host.make('4MiB');
    for (const name of ['reader', 'blind']) {
      writeFileSync(join(destination.directory, name), `${secretOf(name)}\n`, { mode: 0o600 });
    }
    destination.know(`https://127.0.0.1:${source.port}`);
    await Promise.all([source.start(), destination.start()]);
    await destination.write(randomBytes(4 * MIB));
  }, 60_000);
  afterAll(() => Promise.all([source.remove(), destination.remove()]));

  const trusted = () => ({ ca: ca.cert, cert: client.cert, key: client.key });
  const attempt = async (
    more: Partial<PeerEntry>,
    { url = `https://127.0.0.1:${source.port}`, timeout_ms = 20_000 } = {},
  ) => {
    const lines = () =>
      destination.daemon?.log().filter(({ msg }) => msg === 'peers read again').length ?? 0;
    const before = lines();
    destination.know(url, more);
    destination.daemon?.child.kill('SIGHUP');
    while (lines() === before) await sleep(20);
    const answer = await destination.replicate(
      { size: 4 * MIB, timeout_ms },
      { prefer: 'wait=60' },
    );
    return { status: answer.status, ...JSON.parse(answer.body.toString()) };
  };

  test('the right ones', async () => {
    expect(await attempt({ ...trusted(), token_file: 'reader' })).toMatchObject({
      status: 'succeeded',
    });
  });
  test('a certificate that nobody known has signed, at once', async () => {
    const wrong = { ...trusted(), ca: stranger.cert, token_file: 'reader' };
    const { code, detail, replication } = await attempt(wrong);
    expect(code).toBe('peer_unreachable');
    expect(detail).toMatch(/^No trusted connection to the peer other: .*(?:CERT|VERIFY|SIGNED)/);
    expect(replication).toMatchObject({ consistency: 'unchanged', bytes_on_wire: 0 });
  });
  test('a certificate of another name', async () => {
    const url = `https://127.0.0.2:${source.port}`;
    const { code, detail } = await attempt({ ...trusted(), token_file: 'reader' }, { url });
    expect(code).toBe('peer_unreachable');
    expect(detail).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
  });
  test('a client certificate that the peer does not trust', async () => {
    const wrong = { ca: ca.cert, cert: stranger.cert, key: stranger.key, token_file: 'reader' };
    // The peer may trust it later, so that it is tried again until the timeout.
    expect(await attempt(wrong, { timeout_ms: 1000 })).toMatchObject({
      ...{ status: 502, code: 'peer_unreachable' },
    });
  });
  test('no token, and one without the right', async () => {
    for (const more of [{}, { token_file: 'blind' }]) {
      const { code, detail } = await attempt({ ...trusted(), ...more });
      expect(code).toBe('peer_refused');
      expect(detail).toMatch(/401 unauthenticated|403 forbidden/);
    }
  });
});
