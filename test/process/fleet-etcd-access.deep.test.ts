// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Etcd3, Range } from 'etcd3';
import { makeCertificate } from '../support/certificates.ts';
import { Daemon } from '../support/daemon.ts';
import { EtcdCluster, NO_ETCD } from '../support/etcd.ts';
import { Gateway } from '../support/gateway.ts';

const PASSWORD = 'correct horse';
const COPY = {
  ...{ host: 'host', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 4096 },
};

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`an etcd with TLS, client certificates, users and passwords${why}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-etcd-access-'));
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const ca = makeCertificate(directory, 'ca');
  const otherCa = makeCertificate(directory, 'other-ca');
  const server = makeCertificate(directory, 'etcd', ca);
  const own = makeCertificate(directory, 'gateway', ca);
  const strange = makeCertificate(directory, 'strange', otherCa);
  /** All that a gateway needs. */
  const right = {
    DMAD_FLEET_ETCD_CA: ca.cert,
    DMAD_FLEET_ETCD_CERT: own.cert,
    DMAD_FLEET_ETCD_KEY: own.key,
    DMAD_FLEET_ETCD_USER: 'fleet',
    DMAD_FLEET_ETCD_PASSWORD_FILE: write('password', `${PASSWORD}\n`),
  };
  let etcd: EtcdCluster;
  beforeAll(async () => {
    const { cert, key } = server;
    etcd = await EtcdCluster.start(1, [], { tls: { ca: ca.cert, cert, key } });
    const admin = new Etcd3({
      hosts: etcd.urls.split(','),
      credentials: {
        rootCertificate: readFileSync(ca.cert),
        certChain: readFileSync(own.cert),
        privateKey: readFileSync(own.key),
      },
    });
    await (await admin.user('root').create('root')).addRole('root');
    const role = await admin.role('fleet').create();
    // Nothing but what is below the gateways' prefix.
    await role.grant({ permission: 'Readwrite', range: Range.prefix('dmad/') });
    await (await admin.user('fleet').create(PASSWORD)).addRole(role);
    await admin.user('powerless').create(PASSWORD);
    await admin.auth.authEnable();
    admin.close();
  }, 120_000);
  afterAll(async () => {
    await etcd?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const ask = async (url: string, method: string, path: string, body?: object) => {
    const headers = { ...(body && { 'content-type': 'application/json' }) };
    const answer = await fetch(`${url}${path}`, {
      ...{ method, headers, ...(body && { body: JSON.stringify(body) }) },
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const until = async (holds: () => Promise<boolean>) => {
    while (!(await holds())) await sleep(100);
  };
  const isReady = (url: string) => async () => (await fetch(`${url}/readyz`)).status === 200;

  test('a gateway that has all of it hands transfers over, also after etcd forgot its token', async () => {
    const [gateway, daemon] = [new Gateway(etcd.urls, right), new Daemon()];
    const [url, host] = [await gateway.ready(), await daemon.ready()];
    await until(isReady(url));
    expect((await ask(url, 'PUT', '/hosts/host', { url: host })).status).toBe(201);
    expect((await ask(url, 'POST', '/transfers', COPY)).status).toBe(201);
    // Tokens of users are in its memory alone.
    await etcd.kill();
    await until(async () => !(await isReady(url)()));
    etcd.run();
    await etcd.healthy();
    await until(isReady(url));
    expect((await ask(url, 'POST', '/transfers', COPY)).status).toBe(201);
    const { body } = await ask(url, 'GET', '/transfers');
    expect(body.transfers).toHaveLength(2);
    expect((await gateway.stop()).code).toBe(0);
    await daemon.stop();
  }, 60_000);

  const without = (...names: (keyof typeof right)[]) =>
    Object.fromEntries(
      Object.entries(right).filter(([name]) => !names.includes(name as keyof typeof right)),
    );
  const DENIED = "etcd: it refuses the gateway's user, password or role";
  const TLS = 'etcd: no TLS connection, for want of a certificate that both sides trust';
  const wrong: [string, Record<string, string>, string][] = [
    [
      'a wrong password',
      { ...right, DMAD_FLEET_ETCD_PASSWORD_FILE: write('wrong', 'battery staple') },
      DENIED,
    ],
    ['an unknown user', { ...right, DMAD_FLEET_ETCD_USER: 'nobody' }, DENIED],
    ['a user without a role', { ...right, DMAD_FLEET_ETCD_USER: 'powerless' }, DENIED],
    ['keys beyond the role', { ...right, DMAD_FLEET_ETCD_PREFIX: 'other/' }, DENIED],
    [
      'no user',
      without('DMAD_FLEET_ETCD_USER', 'DMAD_FLEET_ETCD_PASSWORD_FILE'),
      // etcd takes the name in the certificate for the user's.
      DENIED,
    ],
    [
      "another CA than that of etcd's certificate",
      { ...right, DMAD_FLEET_ETCD_CA: otherCa.cert },
      TLS,
    ],
    ['no CA', without('DMAD_FLEET_ETCD_CA', 'DMAD_FLEET_ETCD_CERT', 'DMAD_FLEET_ETCD_KEY'), TLS],
    ['no certificate', without('DMAD_FLEET_ETCD_CERT', 'DMAD_FLEET_ETCD_KEY'), TLS],
    [
      'a certificate that etcd does not trust',
      { ...right, DMAD_FLEET_ETCD_CERT: strange.cert, DMAD_FLEET_ETCD_KEY: strange.key },
      TLS,
    ],
  ];

  test('what is wrong is in the log and in /readyz, and nothing is accepted', async () => {
    const found = await Promise.all(
      wrong.map(async ([what, environment, expected]) => {
        const gateway = new Gateway(etcd.urls, environment);
        const url = await gateway.ready();
        const logged = () => gateway.log().some(({ msg }) => msg === expected);
        const deadline = performance.now() + 30_000;
        while (!logged() && performance.now() < deadline) await sleep(100);
        const ready = await ask(url, 'GET', '/readyz');
        const refused = await ask(url, 'POST', '/transfers', COPY);
        await gateway.stop();
        return [what, logged(), ready, refused.status, refused.body.code];
      }),
    );
    expect(found).toEqual(
      wrong.map(([what, , expected]) => {
        const body = { ready: false, waiting_for: [expected] };
        return [what, true, { status: 503, body }, 503, 'etcd_unavailable'];
      }),
    );
  }, 90_000);

  test.each([
    [
      'a certificate without its key',
      without('DMAD_FLEET_ETCD_KEY'),
      /CERT and .*KEY need each other/,
    ],
    [
      'a key of another certificate',
      { ...right, DMAD_FLEET_ETCD_KEY: strange.key },
      /ETCD_KEY .*strange/,
    ],
    ['a CA that is not there', { ...right, DMAD_FLEET_ETCD_CA: '/none' }, /ETCD_CA \/none: ENOENT/],
    [
      'a CA that is none',
      { ...right, DMAD_FLEET_ETCD_CA: write('text', 'text') },
      /ETCD_CA .*there is nothing in PEM in it/,
    ],
    [
      'a user without a password',
      without('DMAD_FLEET_ETCD_PASSWORD_FILE'),
      /USER and .*need each other/,
    ],
    [
      'an empty password',
      { ...right, DMAD_FLEET_ETCD_PASSWORD_FILE: write('empty', '\n') },
      /ETCD_PASSWORD_FILE .*it is empty/,
    ],
    [
      'http: URLs with a CA',
      { ...right, DMAD_FLEET_ETCD: 'http://127.0.0.1:1' },
      /needs https: URLs/,
    ],
  ] as [string, Record<string, string>, RegExp][])(
    '%s is a wrong configuration',
    async (_what, environment, said) => {
      const { code, stderr } = await new Gateway(etcd.urls, environment).exited;
      expect([code, stderr]).toEqual([78, expect.stringMatching(said)]);
    },
  );
});
