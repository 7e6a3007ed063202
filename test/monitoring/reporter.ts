// SPDX-License-Identifier: Apache-2.0

interface Results {
  numPassedTests: number;
  numFailedTests: number;
  numRuntimeErrorTestSuites: number;
}

/** Ends the output with one line that a script can read. */
export default class LastLine {
  onRunComplete(_contexts: unknown, results: Results): void {
    // A suite that cannot be loaded has no tests that could fail.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const line = `${results.numPassedTests} passed, ${failed} failed\n`;
    // After jest's own summary, which it writes once every reporter has been called.
    process.once('exit', () => process.stderr.write(line));
  }
}
