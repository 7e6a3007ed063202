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

  /** Many; this host is little-endian, as the shim needs it. */
  numbers(values: Float64Array): void {
    this.#bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.at);
    this.at += values.byteLength;
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

  numbers(count: number): Float64Array {
    const values = new Float64Array(count);
    const end = this.#at + values.byteLength;
    new Uint8Array(values.buffer).set(this.#bytes.subarray(this.#at, end));
    this.#at = end;
    return values;
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
