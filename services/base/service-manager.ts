// SPDX-License-Identifier: Apache-2.0
import { loadShim, type Shim } from './native/shim.ts';

/** What shutting down may take beside the work under way. */
const SHUTDOWN_MARGIN_SECONDS = 15;
const USEC_PER_SECOND = 1e6;

/**
 * Tells systemd how this process fares, if systemd started it with Type=notify; see sd_notify(3). A
 * message that is not taken changes nothing.
 */
export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number;
  readonly #shim: Shim = loadShim();

  constructor({ NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv) {
    this.#socket = NOTIFY_SOCKET;
    const forUs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
    this.#watchdogMs = forUs ? Number(WATCHDOG_USEC ?? 0) / 1000 : 0;
  }

  /** From now on the event loop says that it runs, as often as it is asked to. */
  ready(status: string): void {
    this.#notify('READY=1', `STATUS=${status}`);
    if (!(this.#watchdogMs > 0)) return;
    setInterval(() => this.#notify('WATCHDOG=1'), this.#watchdogMs / 2).unref();
  }

  /** Asks for as much time as work under way is given, whatever TimeoutStopSec= says. */
  stopping(drainSeconds: number): void {
    const usec = (drainSeconds + SHUTDOWN_MARGIN_SECONDS) * USEC_PER_SECOND;
    this.#notify('STOPPING=1', 'STATUS=shutting down', `EXTEND_TIMEOUT_USEC=${usec}`);
  }

  #notify(...lines: string[]): void {
    if (this.#socket) this.#shim.notify(this.#socket, lines.join('\n'));
  }
}
