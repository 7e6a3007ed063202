// SPDX-License-Identifier: Apache-2.0

/**
 * What a fresh machine cannot run: these need the Debian packages prometheus, docker-compose, nginx-light and wget,
 * and build the image's stages anew.
 */
export default {
  rootDir: '../..',
  testEnvironment: 'node',
  roots: ['<rootDir>/dist/test/monitoring'],
  testMatch: ['**/*.check.js'],
  transform: {},
  testTimeout: 60_000,
  maxWorkers: 2,
  reporters: ['default', '<rootDir>/dist/test/monitoring/reporter.js'],
};
