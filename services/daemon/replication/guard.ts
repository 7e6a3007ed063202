// SPDX-License-Identifier: Apache-2.0

/** How slow a peer may be before its connection counts as lost. */
export interface Patience {
  /** How long it may send nothing, in milliseconds: the digest of 1 GiB may take some seconds on a busy host. */
  silenceMs: number;
  /** In each window of `windowMs` milliseconds, at least `windowBytes` must arrive. */
  windowMs: number;
  windowBytes: number;
}

export const PATIENCE: Patience = { silenceMs: 30_000, windowMs: 60_000, windowBytes: 65_536 };

/** Ends a request whose answer comes too slowly. */
export class Guard {
  readonly #patience: Patience;
  readonly #received: (bytes: number, covered: number) => void;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #follow = () => this.#controller.abort(this.#outer.reason);
  #silence: NodeJS.Timeout;
  readonly #window: NodeJS.Timeout;
  #bytes = 0;

  constructor(
    patience: Patience,
    outer: AbortSignal,
    received: (bytes: number, covered: number) => void,
  ) {
    this.#patience = patience;
    this.#received = received;
    this.#outer = outer;
    outer.addEventListener('abort', this.#follow);
    this.#silence = this.#watchSilence();
    const { windowMs, windowBytes } = patience;
    this.#window = setInterval(() => {
      if (this.#bytes < windowBytes) this.#giveUp(`it sent ${this.#bytes} bytes in ${windowMs} ms`);
      this.#bytes = 0;
    }, windowMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @param covered how many of the device's bytes these are about (a digest's block), which is what counts */
  received(bytes: number, covered = bytes): void {
    this.#bytes += covered;
    this.#silence.refresh();
    this.#received(bytes, covered);
  }

  close(): void {
    clearTimeout(this.#silence);
    clearInterval(this.#window);
    this.#outer.removeEventListener('abort', this.#follow);
    this.#controller.abort();
  }

  #watchSilence(): NodeJS.Timeout {
    const { silenceMs } = this.#patience;
    return setTimeout(() => this.#giveUp(`it sent nothing for ${silenceMs} ms`), silenceMs);
  }

  #giveUp(why: string): void {
    this.#controller.abort(new Error(why));
  }
}
