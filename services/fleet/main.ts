// SPDX-License-Identifier: Apache-2.0

import { handleSignals } from '../base/signals.ts';
import { explainFailure, StartError } from '../base/start-error.ts';
import { writeToStderr } from '../base/stderr.ts';

// Before the rest is loaded.
const signals = handleSignals();
let exitCode = 0;
try {
  const [argument] = process.argv.slice(2);
  if (argument === '--version') {
    const { DAEMON_VERSION } = await import('../base/version.ts');
    process.stdout.write(`dmad fleet ${DAEMON_VERSION}\n`);
  } else if (argument === '--help') {
    const { helpText } = await import('./settings.ts');
    process.stdout.write(helpText());
  } else if (argument === '--try') {
    const { runTrial } = await import('./trial/trial.ts');
    await runTrial(signals);
  } else if (argument !== undefined) {
    const reason = `unknown argument "${argument}": there are --help, --version and --try; all else is set by the environment`;
    throw new StartError('configuration', reason);
  } else {
    const { run } = await import('./gateway.ts');
    await run(signals);
  }
} catch (error) {
  const failure = explainFailure(error);
  writeToStderr(`dmad fleet: ${failure.message}\n`);
  exitCode = failure.exitCode;
}
// Not by itself: Node then gives signal handlers up first, and SIGHUP would kill again.
process.exit(exitCode);
