// SPDX-License-Identifier: Apache-2.0
import { availableParallelism } from 'node:os';
import { bundledPackages } from './bundled-packages.js';

const { TEST_DEPTH = 'quick' } = process.env;

/** Tests run as compiled: no transform stands between what is tested and what is shipped. */
export default {
  rootDir: '..',
  testEnvironment: 'node',
  // All that tests import, so that those that import a changed file can be found.
  roots: ['<rootDir>/dist/services', '<rootDir>/dist/openapi', '<rootDir>/dist/test'],
  testMatch: ['<rootDir>/dist/test/{unit,http,process}/**/*.test.js'],
  // See test/support/depth.ts.
  testPathIgnorePatterns: TEST_DEPTH === 'quick' ? ['[.]deep[.]test[.]js$'] : [],
  transform: {},
  moduleNameMapper: bundledPackages,
  globalSetup: '<rootDir>/test/bundled-packages.js',
  testTimeout: 60_000,
  // One more than cores: in a good part of their time tests wait, for a disk or a clock.
  maxWorkers: availableParallelism() + 1,
  // A worker that has loaded a hundred suites takes V8 longer to free than jest's half a second.
  workerGracefulExitTimeout: 10_000,
  // Only where somebody reads it.
  collectCoverage: TEST_DEPTH === 'exhaustive',
  coverageProvider: 'v8',
  collectCoverageFrom: ['dist/services/**/*.js', '!dist/services/bundle/**'],
  coverageReporters: ['text-summary', 'html'],
  // Jest's reporter that prints test files only if they fail, and a summary.
  reporters: ['agent'],
};
