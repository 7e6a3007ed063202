// SPDX-License-Identifier: Apache-2.0

/** What a fresh machine cannot run: these need root, network namespaces, /dev/net/tun, iproute2 and gcc. */
export default {
  rootDir: '../..',
  testEnvironment: 'node',
  roots: ['<rootDir>/dist/test/network'],
  testMatch: ['**/*.check.js'],
  transform: {},
  testTimeout: 300_000,
  maxWorkers: 1,
};
