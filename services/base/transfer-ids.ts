// SPDX-License-Identifier: Apache-2.0
import { randomFillSync } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';

const MAX_SEQUENCE = 0xffff_ffff;
/** Random bytes that an id takes, of which some go into it; and of how many ids they are made at once. */
const RANDOM_SIZE = 16;
const RANDOM_COUNT = 256;

/**
 * Names transfers so that the order of their ids is that of their acceptance: UUIDs of version 7,
 * which never go back, though the clock may be set back, also while the daemon does not run.
 */
export class TransferIds {
  #msecs = 0;
  #sequence = 0;
  readonly #random = Buffer.alloc(RANDOM_SIZE * RANDOM_COUNT);
  #randomAt = this.#random.length;

  /** All later ids sort after this one. @param id empty: there is none */
  passOver(id: string): void {
    if (id === '') return;
    this.#msecs = Math.max(this.#msecs, Number.parseInt(id.replace('-', '').slice(0, 12), 16));
    this.#sequence = MAX_SEQUENCE;
  }

  next(): string {
    const now = Date.now();
    if (now > this.#msecs) {
      this.#msecs = now;
      this.#sequence = 0;
    } else if (this.#sequence === MAX_SEQUENCE) {
      this.#msecs++;
      this.#sequence = 0;
    } else {
      this.#sequence++;
    }
    return uuidv7({ msecs: this.#msecs, seq: this.#sequence, random: this.#nextRandom() });
  }

  #nextRandom(): Uint8Array {
    if (this.#randomAt === this.#random.length) {
      randomFillSync(this.#random);
      this.#randomAt = 0;
    }
    const at = this.#randomAt;
    this.#randomAt += RANDOM_SIZE;
    return this.#random.subarray(at, this.#randomAt);
  }
}
