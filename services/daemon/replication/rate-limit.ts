// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { Budget } from '../order/budget.ts';

/** How often a wait reads the rate again, which may have changed, in milliseconds. */
const ASK_MS = 250;

/** Limits how many bytes are fetched a second. Requests pay before they are sent, one after the other. */
export class RateLimit {
  #bytesPerSecond: number | null;
  #budget: Budget | undefined;
  #last: Promise<void> = Promise.resolve();

  /** @param bytesPerSecond null: unlimited */
  constructor(bytesPerSecond: number | null) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#renew();
  }

  get bytesPerSecond(): number | null {
    return this.#bytesPerSecond;
  }

  /** What waits already pays the remainder at the new rate. */
  set bytesPerSecond(bytesPerSecond: number | null) {
    this.#bytesPerSecond = bytesPerSecond;
    if (bytesPerSecond === null || this.#budget === undefined) this.#renew();
    else this.#budget.setRate(bytesPerSecond, performance.now());
  }

  /** Waits until `bytes` may be requested. @throws the signal's reason */
  async pay(bytes: number, signal: AbortSignal): Promise<void> {
    const before = this.#last;
    const paid = (async () => {
      await before;
      this.charge(bytes);
      for (let ms = this.#owedMs(); ms > 0 && !signal.aborted; ms = this.#owedMs()) {
        await sleep(Math.min(ms, ASK_MS), undefined, { signal }).catch(() => {});
      }
    })();
    this.#last = paid;
    await paid;
    signal.throwIfAborted();
  }

  /** Counts bytes that were not paid for in advance: the next to pay waits for them, too. */
  charge(bytes: number): void {
    this.#budget?.charge(bytes, performance.now());
  }

  #owedMs(): number {
    return this.#budget?.charge(0, performance.now()) ?? 0;
  }

  #renew(): void {
    const rate = this.#bytesPerSecond;
    this.#budget = rate === null ? undefined : new Budget(rate, [1], performance.now());
  }
}
