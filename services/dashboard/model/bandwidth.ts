// SPDX-License-Identifier: Apache-2.0

/** Bytes that each engine copied, second by second, over a fixed time. */
export class Bandwidth {
  readonly seconds: number;
  readonly #bytes = new Map<string, Float64Array>();
  /** The second in which watching began. */
  readonly #first: number;
  /** The second that the last column stands for. */
  #latest: number;

  /** @param now in milliseconds */
  constructor(seconds: number, now: number) {
    this.seconds = seconds;
    this.#first = Math.floor(now / 1000);
    this.#latest = this.#first;
  }

  add(engine: string, bytes: number, now: number): void {
    this.#advance(now);
    let column = this.#bytes.get(engine);
    if (column === undefined) {
      column = new Float64Array(this.seconds);
      this.#bytes.set(engine, column);
    }
    const last = column.length - 1;
    column[last] = (column[last] ?? 0) + bytes;
  }

  /**
   * The times, in seconds, and of each engine the bytes in each of them: null before watching began.
   * The last second is left out: it is not over.
   */
  columns(engines: readonly string[], now: number): [number[], ...(number | null)[][]] {
    this.#advance(now);
    const count = this.seconds - 1;
    const times = Array.from({ length: count }, (_, index) => this.#latest - count + index);
    const empty = new Float64Array(this.seconds);
    return [
      times,
      ...engines.map((name) => {
        const bytes = this.#bytes.get(name) ?? empty;
        return times.map((time, index) => (time < this.#first ? null : (bytes[index] ?? 0)));
      }),
    ];
  }

  #advance(now: number): void {
    const second = Math.floor(now / 1000);
    const passed = Math.min(second - this.#latest, this.seconds);
    if (passed <= 0) return;
    for (const column of this.#bytes.values()) {
      column.copyWithin(0, passed);
      column.fill(0, this.seconds - passed);
    }
    this.#latest = second;
  }
}
