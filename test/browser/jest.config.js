// SPDX-License-Identifier: Apache-2.0

/** What a fresh machine cannot run: these need the Debian package chromium. */
export default {
  rootDir: '../..',
  testEnvironment: 'node',
  roots: ['<rootDir>/dist/test/browser'],
  testMatch: ['**/*.test.js'],
  transform: {},
  testTimeout: 120_000,
};
