// SPDX-License-Identifier: Apache-2.0

/** How many bytes all replications together hold between the network and a device. */
const MAX_BYTES = 128 * 2 ** 20;
/** How long unused memory is kept, in milliseconds: new memory costs more than a copy into it. */
const IDLE_MS = 1000;

/** Memory that is lent until `end` is called, once. */
export interface Loan {
  readonly memory: Buffer;
  end(): void;
}

interface Waiter {
  share: FetchShare;
  size: number;
  resolve(loan: Loan): void;
}

/**
 * Memory for replications that fetch, shared with the threads that hash. Each replication has one reserved
 * buffer, so that peers that stall, however many, do not delay the others; further buffers come from a
 * pool, first come, first served.
 */
export class FetchBuffers {
  #waiting: Waiter[] = [];
  #idle: Buffer[] = [];
  /** Bytes of the pool that are lent. */
  #pooled = 0;
  /** How many buffers are lent, reserved ones included. */
  #lent = 0;
  #freeing: NodeJS.Timeout | undefined;

  /** What one replication borrows from. */
  share(): FetchShare {
    return new FetchShare(this);
  }

  /**
   * Lends a buffer of at least `size` bytes, once there is one.
   *
   * @throws the signal's reason
   */
  async borrow(share: FetchShare, size: number, signal: AbortSignal): Promise<Loan> {
    signal.throwIfAborted();
    const loan = this.#lend(share, size, this.#waiting.length === 0);
    if (loan !== undefined) return loan;
    return new Promise((resolve, reject) => {
      const waiter = { share, size, resolve: settle };
      const leave = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        reject(signal.reason);
        this.#serve();
      };
      function settle(lent: Loan) {
        signal.removeEventListener('abort', leave);
        resolve(lent);
      }
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** @param pool whether the pool's memory may be lent, too */
  #lend(share: FetchShare, size: number, pool: boolean): Loan | undefined {
    const own = !share.ownLent;
    if (!own && !(pool && this.#pooled + size <= MAX_BYTES)) return undefined;
    if (own) share.ownLent = true;
    else this.#pooled += size;
    this.#lent++;
    clearTimeout(this.#freeing);
    const memory = this.#buffer(size);
    const end = () => {
      if (own) share.ownLent = false;
      else this.#pooled -= size;
      this.#lent--;
      this.#idle.push(memory);
      this.#serve();
      if (this.#lent > 0) return;
      this.#freeing = setTimeout(() => {
        this.#idle = [];
      }, IDLE_MS).unref();
    };
    return { memory, end };
  }

  #buffer(size: number): Buffer {
    const found = this.#idle.findIndex((buffer) => buffer.length === size);
    const [idle] = found < 0 ? [] : this.#idle.splice(found, 1);
    if (idle !== undefined) return idle;
    // Unused buffers of other sizes would exceed the limit.
    this.#idle = this.#idle.filter((buffer) => buffer.length === size);
    return Buffer.from(new SharedArrayBuffer(size));
  }

  #serve(): void {
    let pool = true;
    this.#waiting = this.#waiting.filter(({ share, size, resolve }) => {
      const loan = this.#lend(share, size, pool);
      if (loan === undefined) pool = false;
      else resolve(loan);
      return loan === undefined;
    });
  }
}

/** What one replication borrows. */
export class FetchShare {
  /** Whether its reserved buffer is lent. */
  ownLent = false;
  readonly #buffers: FetchBuffers;

  constructor(buffers: FetchBuffers) {
    this.#buffers = buffers;
  }

  /** @throws the signal's reason */
  borrow(size: number, signal: AbortSignal): Promise<Loan> {
    return this.#buffers.borrow(this, size, signal);
  }
}
