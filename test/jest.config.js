// SPDX-License-Identifier: Apache-2.0

/** Tests run as compiled: no transform stands between what is tested and what is shipped. */
export default {
  rootDir: '..',
  testEnvironment: 'node',
  roots: ['unit', 'http', 'process'].map((folder) => `<rootDir>/dist/test/${folder}`),
  testMatch: ['**/*.test.js'],
  transform: {},
  testTimeout: 60_000,
  // Tests start daemons and copy hundreds of megabytes; a worker for each core, no more.
  maxWorkers: 2,
  // A worker that has loaded a hundred suites takes V8 longer to free than jest's half a second.
  workerGracefulExitTimeout: 10_000,
  // Quick tests are for the loop of change and test, where nobody reads it.
  collectCoverage: process.env.TEST_DEPTH === 'deep',
  coverageProvider: 'v8',
  collectCoverageFrom: ['dist/services/**/*.js', '!dist/services/bundle/**'],
  coverageReporters: ['text-summary', 'html'],
  // Jest's reporter that prints test files only if they fail, and a summary.
  reporters: ['agent'],
};
