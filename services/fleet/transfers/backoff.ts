// SPDX-License-Identifier: Apache-2.0

const FIRST_MS = 100;
const MAX_MS = 5000;

/** Waits longer and longer, with half of it left to chance. */
export class Backoff {
  #failures = 0;
  #wake: (() => void) | undefined;

  reset(): void {
    this.#failures = 0;
  }

  /** Ends a wait that is under way. */
  wake(): void {
    this.#wake?.();
  }

  async wait(signal: AbortSignal): Promise<void> {
    const ms = Math.min(FIRST_MS * 2 ** this.#failures++, MAX_MS) * (0.5 + Math.random() / 2);
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end);
      this.#wake = end;
    });
    this.#wake = undefined;
  }
}
