// SPDX-License-Identifier: Apache-2.0

/** What all replications may have in flight between the network and a device, in bytes. */
const MAX_BYTES = 128 * 2 ** 20;

/** Memory that is shared with threads that hash, lent to whoever fetches: first come, first served. */
export class FetchBuffers {
  readonly #waiting: { size: number; resolve(buffer: Buffer): void }[] = [];
  #idle: Buffer[] = [];
  #lent = 0;

  /** Lends a buffer of at least `size` bytes, once there is room. */
  async use<Result>(size: number, work: (buffer: Buffer) => Promise<Result>): Promise<Result> {
    const buffer = await this.#take(size);
    try {
      return await work(buffer);
    } finally {
      this.#give(buffer);
    }
  }

  #take(size: number): Promise<Buffer> | Buffer {
    if (this.#waiting.length === 0 && this.#lent + size <= MAX_BYTES) return this.#lend(size);
    return new Promise((resolve) => this.#waiting.push({ size, resolve }));
  }

  #lend(size: number): Buffer {
    this.#lent += size;
    const found = this.#idle.findIndex((buffer) => buffer.length === size);
    const [idle] = found < 0 ? [] : this.#idle.splice(found, 1);
    if (idle !== undefined) return idle;
    // Idle ones of other sizes would make it more in all.
    this.#idle = this.#idle.filter((buffer) => buffer.length === size);
    return Buffer.from(new SharedArrayBuffer(size));
  }

  #give(buffer: Buffer): void {
    this.#lent -= buffer.length;
    this.#idle.push(buffer);
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#lent + next.size > MAX_BYTES) return;
      this.#waiting.shift();
      next.resolve(this.#lend(next.size));
    }
    // Whoever wants some later makes them again.
    if (this.#lent === 0) this.#idle = [];
  }
}
