// SPDX-License-Identifier: Apache-2.0

/** Writes values one behind the other into bytes that have room for them. */
export class Packer {
  readonly #bytes: Buffer;
  /** Where the next value comes. */
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** @param value undefined is kept as such; NaN is not */
  number(value: number | undefined): void {
    this.#bytes.writeDoubleLE(value ?? Number.NaN, this.at);
    this.at += 8;
  }

  /** @returns how many bytes it takes, which its reader has to know */
  text(value: string): number {
    const size = value === '' ? 0 : this.#bytes.write(value, this.at);
    this.at += size;
    return size;
  }
}

/** Reads them in the same order. */
export class Unpacker {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  number(): number {
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  /** One that may be undefined. */
  optional(): number | undefined {
    const value = this.number();
    return Number.isNaN(value) ? undefined : value;
  }

  text(size: number): string {
    const start = this.#at;
    this.#at += size;
    return this.#bytes.toString('utf8', start, this.#at);
  }
}
