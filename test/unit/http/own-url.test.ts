// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { canonicalHost } from '../../../services/base/host-address.ts';
import { ownUrl } from '../../../services/http/own-url.ts';
import { makeCertificate } from '../../support/certificates.ts';

test.each([
  ['DMAD.example.', 'dmad.example'],
  ['dmad', 'dmad'],
  ['.', '.'],
  ['0:0::1', '::1'],
  ['FD00:0:0::A', 'fd00::a'],
  ['::FFFF:7f00:1', '127.0.0.1'],
  ['127.0.0.1', '127.0.0.1'],
])('%s is %s', (host, canonical) => {
  expect(canonicalHost(host)).toBe(canonical);
});

describe('ownUrl', () => {
  let directory: string;
  let certificate: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-url-'));
    // For localhost and 127.0.0.1.
    certificate = readFileSync(makeCertificate(directory, 'own').cert, 'utf8');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const clear = (host: string) =>
    ownUrl({ host, port: 80, allowedHosts: ['a.example'], certificate: undefined });
  const tls = (host: string, allowedHosts: string[] = []) =>
    ownUrl({ host, port: 443, allowedHosts, certificate });

  test.each([
    ['0.0.0.0', 'http://127.0.0.1:80'],
    ['::', 'http://[::1]:80'],
    ['fd00:0::1', 'http://[fd00::1]:80'],
    ['Dmad.Example.', 'http://dmad.example:80'],
  ])('in clear, on %s: %s', (host, url) => {
    expect(clear(host)).toBe(url);
  });

  test.each([
    ['0.0.0.0', [], 'https://127.0.0.1:443'],
    // Not ::1, which the certificate does not name.
    ['::', [], 'https://localhost:443'],
    ['192.0.2.7', ['b.example', 'localhost'], 'https://localhost:443'],
    // There is no better one.
    ['192.0.2.7', ['b.example'], 'https://192.0.2.7:443'],
  ])('with TLS, on %s and known as %j: %s', (host, allowed, url) => {
    expect(tls(host, allowed)).toBe(url);
  });
});
