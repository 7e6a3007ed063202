// SPDX-License-Identifier: Apache-2.0

/** What goes unspent for so long is gone; and a timer may be late by so much at no loss. In ms. */
const BURST_MS = 50;

interface Lane {
  readonly weight: number;
  /** What its next operation costs, in bytes; 0 where there is none. */
  price: number;
  /** What is put by for that. */
  saved: number;
}

/**
 * What a client with so many bytes a second may start. An operation is paid for before it starts,
 * in full, however large it is: so at no time has more been moved than the rate allows, and a burst
 * of 50 ms. What comes in is shared among the lanes that wait, by weight, so that a large operation
 * that saves for long does not keep the client's small ones from starting. Pure: it knows no clock.
 */
export class Budget {
  #bytesPerSecond: number;
  readonly #lanes: Lane[];
  #at: number;
  /** Bytes that are not put by for anything; below zero: owed. */
  #purse = 0;

  /**
   * @param weights of the lanes
   * @param now milliseconds of a clock that does not step, as in all that follows
   */
  constructor(bytesPerSecond: number, weights: readonly number[], now: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#lanes = weights.map((weight) => ({ weight, price: 0, saved: 0 }));
    this.#at = now;
    this.#purse = this.#inMs(BURST_MS);
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** From now on it is so much. What is put by stays, and so does what is owed. */
  setRate(bytesPerSecond: number, now: number): void {
    this.advance(now);
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** What has come in since. To be called before anything changes. */
  advance(now: number): void {
    this.#purse += this.#inMs(Math.max(0, now - this.#at));
    this.#at = Math.max(this.#at, now);
    // Each round all is given away, or at least one lane has what it needs.
    for (let short = this.#short(); this.#purse > 0 && short.length > 0; ) {
      const purse = this.#purse;
      const weights = sum(short);
      for (const lane of short) {
        const share = (purse * lane.weight) / weights;
        const missing = lane.price - lane.saved;
        if (share < missing) lane.saved += share;
        // Not by adding, which might be a bit short of it.
        else lane.saved = lane.price;
        this.#purse -= Math.min(share, missing);
      }
      const left = this.#short();
      if (left.length === short.length) break;
      short = left;
    }
    this.#purse = Math.min(this.#purse, this.#inMs(BURST_MS));
  }

  /** Says what a lane's next operation costs, in bytes; 0: there is none. */
  want(lane: number, price: number): void {
    const account = this.#lanes[lane] as Lane;
    account.price = price;
    this.#purse += Math.max(0, account.saved - price);
    account.saved = Math.min(account.saved, price);
  }

  /** Whether a lane's next operation may start. */
  paid(lane: number): boolean {
    const { saved, price } = this.#lanes[lane] as Lane;
    return saved >= price;
  }

  /** It has started. */
  spend(lane: number): void {
    Object.assign(this.#lanes[lane] as Lane, { price: 0, saved: 0 });
  }

  /**
   * For bytes that move as they come: they are owed, and what is owed is paid first.
   *
   * @returns how long to wait before more, in milliseconds
   */
  charge(bytes: number, now: number): number {
    this.advance(now);
    this.#purse -= bytes;
    return this.owedMs;
  }

  /** Bytes that could start at once, now. */
  spendable(now: number): number {
    this.advance(now);
    return Math.max(0, Math.floor(this.#purse));
  }

  /** Milliseconds until what is owed is paid. */
  get owedMs(): number {
    return Math.max(0, -this.#purse) / this.#inMs(1);
  }

  /** Milliseconds until a lane is paid for that is not, if nothing else happens; or Infinity. */
  get wait(): number {
    const short = this.#short();
    const weights = sum(short);
    const waits = short.map(
      ({ price, saved, weight }) => ((price - saved) * weights) / weight / this.#inMs(1),
    );
    return this.owedMs + Math.min(...waits);
  }

  /** About how many milliseconds it takes to pay for so many bytes in a lane, if others wait too. */
  msFor(lane: number, bytes: number): number {
    const { weight, saved } = this.#lanes[lane] as Lane;
    const weights = sum(this.#short()) || weight;
    return this.owedMs + (Math.max(0, bytes - saved) * weights) / weight / this.#inMs(1);
  }

  #short(): Lane[] {
    return this.#lanes.filter(({ saved, price }) => saved < price);
  }

  #inMs(ms: number): number {
    return (this.#bytesPerSecond * ms) / 1000;
  }
}

function sum(lanes: readonly Lane[]): number {
  return lanes.reduce((total, { weight }) => total + weight, 0);
}
