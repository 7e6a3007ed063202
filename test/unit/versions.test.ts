// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import packageJson from '../../package.json' with { type: 'json' };
import { loadShim } from '../../services/base/native/shim.ts';
import { DAEMON_VERSION } from '../../services/base/version.ts';

const { version } = packageJson;
const read = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8');

test('daemon, shim, image, kernel module and OpenAPI document have the version of package.json', () => {
  expect(DAEMON_VERSION).toBe(version);
  expect(loadShim().version()).toBe(version);
  expect(/^ARG VERSION=(.*)$/m.exec(read('docker/Dockerfile'))?.[1]).toBe(version);
  expect(/^ {4}newTag: (.*)$/m.exec(read('docker/kubernetes/base/kustomization.yaml'))?.[1]).toBe(
    version,
  );
  // Kbuild reads it there.
  expect(/^PACKAGE_VERSION="(.*)"$/m.exec(read('kernel/dkms.conf'))?.[1]).toBe(version);
  expect(JSON.parse(read('openapi/openapi.json')).info.version).toBe(version);
});
