// SPDX-License-Identifier: Apache-2.0
import inspector from 'node:inspector';

/** How often to look whether a debugger was opened by a signal that came before our handlers. */
const DEBUGGER_CHECK_MS = 10;

/** What the operator's signals ask for, from the process's first moment on. */
export interface Signals {
  /** Resolves at the first SIGTERM or SIGINT; further ones change nothing. */
  readonly stop: Promise<void>;
  /** Calls back at each SIGHUP from now on, and at once if one has come before. */
  onReload(reload: () => void): void;
  /** To be called once the daemon is loaded: by then no early signal is left to take effect. */
  settled(): void;
}

/**
 * Handles signals. This must come before the daemon's other modules are loaded, which takes half a
 * second: by default SIGHUP and SIGUSR2, which terminals and log rotation send, kill the process,
 * and SIGUSR1 makes Node listen for a debugger that any local user may connect to.
 */
export function handleSignals(): Signals {
  process.on('SIGUSR1', () => {});
  process.on('SIGUSR2', () => {});
  let reload: (() => void) | undefined;
  let reloadDue = false;
  process.on('SIGHUP', () => {
    if (reload === undefined) reloadDue = true;
    else reload();
  });
  const stop = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
  const debuggerCheck = setInterval(closeDebugger, DEBUGGER_CHECK_MS);
  closeDebugger();
  return {
    stop,
    onReload: (callback) => {
      reload = callback;
      if (reloadDue) callback();
      reloadDue = false;
    },
    settled: () => clearInterval(debuggerCheck),
  };
}

/** Unless the command line asks for one. */
function closeDebugger(): void {
  if (inspector.url() !== undefined && !debuggerWanted()) inspector.close();
}

function debuggerWanted(): boolean {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  return flags.some((flag) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(flag));
}
