// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Certificate, makeCertificate } from '../support/certificates.ts';
import type { Answer } from '../support/conformance.ts';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { exchange, request } from '../support/wire.ts';

let directory: string;
let ca: Certificate;
let server: Certificate;
let otherServer: Certificate;
let client: Certificate;
let stranger: Certificate;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  ca = makeCertificate(directory, 'ca');
  server = makeCertificate(directory, 'server', ca);
  otherServer = makeCertificate(directory, 'other-server', ca);
  client = makeCertificate(directory, 'client', ca);
  stranger = makeCertificate(directory, 'stranger');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const settings = ({ cert, key }: Certificate) => ({ DMAD_TLS_CERT: cert, DMAD_TLS_KEY: key });
const pem = ({ cert, key }: Certificate) => ({ cert: readFileSync(cert), key: readFileSync(key) });

/** @throws where the connection fails, or is refused */
function ask(url: string, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpsRequest(url, { ca: readFileSync(ca.cert), agent: false, ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks),
        }),
      );
    })
      .on('error', reject)
      .end();
  });
}

/** What comes back for bytes over TLS. */
function raw(port: number, bytes: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const options = { port, host: '127.0.0.1', ca: readFileSync(ca.cert) };
    const socket = tlsConnect(options, () => socket.write(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
}

describe('TLS', () => {
  test('serves, answers what the parser refuses, and leaves the Unix socket in clear', async () => {
    const socket = join(directory, 'one.sock');
    const daemon = new Daemon({ ...settings(server), DMAD_SOCKET: socket });
    const url = await daemon.ready();
    expect(url).toMatch(/^https:/);
    expect((await ask(`${url}/devices`)).status).toBe(200);
    expectProblem(
      await ask(`${url}/devices`, { headers: { host: 'x.example' }, servername: 'localhost' }),
      421,
      'misdirected_request',
    );
    const port = Number(new URL(url).port);
    expect((await raw(port, 'BROKEN\r\n\r\n')).toString()).toMatch(
      /^HTTP\/1.1 400 [\s\S]*invalid_request/,
    );
    expect(
      (
        await raw(port, `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`)
      ).toString(),
    ).toMatch(/^HTTP\/1.1 431 [\s\S]*headers_too_large/);
    expect((await exchange(socket, request('GET /livez'))).status).toBe(200);
    expect((await exchange(socket, request('GET /devices'))).status).toBe(200);
    // One who speaks no TLS is given nothing.
    const plain = await new Promise<string>((resolve) => {
      let text = '';
      const connection = netConnect(port, '127.0.0.1', () =>
        connection.write('GET /livez HTTP/1.1\r\n\r\n'),
      );
      connection.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      connection.on('error', () => {});
      connection.on('close', () => resolve(text));
    });
    expect(plain).not.toContain('HTTP');
    await expect(
      ask(`${url}/livez`, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }),
    ).rejects.toThrow();
    expect((await ask(`${url}/livez`, { maxVersion: 'TLSv1.2' })).status).toBe(200);
    expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  test('client certificates: none, a foreign one, the right one, which the audit log names', async () => {
    const daemon = new Daemon({ ...settings(server), DMAD_TLS_CLIENT_CA: ca.cert });
    const url = await daemon.ready();
    await expect(ask(`${url}/livez`)).rejects.toThrow();
    await expect(ask(`${url}/livez`, pem(stranger))).rejects.toThrow();
    expect((await ask(`${url}/devices/dax0.0/checksum`, pem(client))).status).toBe(200);
    await daemon.logged(/^audit$/);
    expect(daemon.log().find(({ log }) => log === 'audit')).toMatchObject({
      client: 'anonymous',
      certificate: { CN: 'client' },
      address: expect.stringContaining('127.0.0.1'),
    });
    await daemon.stop();
  });

  test('SIGHUP reads certificates again; broken ones change nothing', async () => {
    const used = { cert: join(directory, 'used.crt'), key: join(directory, 'used.key') };
    const use = ({ cert, key }: Certificate) => {
      copyFileSync(cert, used.cert);
      copyFileSync(key, used.key);
    };
    use(server);
    const daemon = new Daemon(settings(used));
    const url = await daemon.ready();
    const port = Number(new URL(url).port);
    const shown = () =>
      new Promise<string | undefined>((resolve, reject) => {
        const socket = tlsConnect({ port, ca: readFileSync(ca.cert), host: '127.0.0.1' }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        }).on('error', reject);
      });
    expect(await shown()).toBe('server');
    use(otherServer);
    daemon.child.kill('SIGHUP');
    await daemon.logged(/certificates read again/);
    expect(await shown()).toBe('other-server');
    copyFileSync(server.key, used.key);
    daemon.child.kill('SIGHUP');
    await daemon.logged(/certificates stay/);
    expect(await shown()).toBe('other-server');
    expect((await ask(`${url}/livez`)).status).toBe(200);
    await daemon.stop();
  });

  deepTest.each<[string, () => Record<string, string>, RegExp]>([
    ['a certificate alone', () => ({ DMAD_TLS_CERT: server.cert }), /DMAD_TLS_KEY/],
    ['a key alone', () => ({ DMAD_TLS_KEY: server.key }), /DMAD_TLS_CERT/],
    ['a client CA alone', () => ({ DMAD_TLS_CLIENT_CA: ca.cert }), /DMAD_TLS_CLIENT_CA/],
    ['a missing file', () => ({ ...settings(server), DMAD_TLS_KEY: '/nowhere' }), /DMAD_TLS_KEY/],
    [
      "another one's key",
      () => ({ ...settings(server), DMAD_TLS_KEY: client.key }),
      /DMAD_TLS_KEY/,
    ],
    [
      'a certificate that is none',
      () => {
        const path = join(directory, 'none.crt');
        writeFileSync(path, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
        return { ...settings(server), DMAD_TLS_CERT: path };
      },
      /DMAD_TLS_CERT/,
    ],
    [
      'a client CA that is empty',
      () => {
        const path = join(directory, 'empty.crt');
        writeFileSync(path, '');
        return { ...settings(server), DMAD_TLS_CLIENT_CA: path };
      },
      /DMAD_TLS_CLIENT_CA/,
    ],
  ])('exit code 78 for %s', async (_name, environment, message) => {
    const { code, stderr } = await new Daemon(environment()).exited;
    expect(code).toBe(78);
    expect(stderr).toMatch(/^dmad: [^\n]+\n$/);
    expect(stderr).toMatch(message);
  });
});
