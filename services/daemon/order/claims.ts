// SPDX-License-Identifier: Apache-2.0
import sortedBtree from 'sorted-btree';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** Bytes [start, end) and who has a claim on them: the last writer, and the readers since. */
interface Fragment<Owner> {
  end: number;
  writer: Owner | undefined;
  readers: Set<Owner>;
}

/**
 * Who, of those not yet done, last claimed which bytes of one device. It answers one question in
 * O(log n + answers): whom does a new claim have to wait for? A write replaces what it covers, for
 * whoever waits for the write thereby waits for all before it; so the map stays as small as the
 * claims that still matter.
 */
export class Claims<Owner> {
  readonly #fragments = new BTree<number, Fragment<Owner>>(undefined, (a, b) => a - b);
  #entries = 0;

  /** How much is remembered: fragments, and readers in them. */
  get entries(): number {
    return this.#entries;
  }

  /**
   * Claims the bytes [start, end) for reading.
   *
   * @param mustWaitFor is told each owner to wait for; the same one perhaps several times
   */
  read(owner: Owner, start: number, end: number, mustWaitFor: (other: Owner) => void): void {
    let at = start;
    for (const [from, fragment] of this.#cut(start, end)) {
      if (from > at) this.#insert(at, from, undefined, new Set([owner]));
      if (fragment.writer !== undefined && fragment.writer !== owner) mustWaitFor(fragment.writer);
      if (!fragment.readers.has(owner)) this.#entries++;
      fragment.readers.add(owner);
      at = fragment.end;
    }
    if (at < end) this.#insert(at, end, undefined, new Set([owner]));
  }

  /** Claims the bytes [start, end) for writing; see {@link read}. */
  write(owner: Owner, start: number, end: number, mustWaitFor: (other: Owner) => void): void {
    for (const [from, fragment] of this.#cut(start, end)) {
      if (fragment.writer !== undefined && fragment.writer !== owner) mustWaitFor(fragment.writer);
      for (const reader of fragment.readers) {
        if (reader !== owner) mustWaitFor(reader);
      }
      this.#remove(from, fragment);
    }
    this.#insert(start, end, owner, new Set());
  }

  /** Gives up what `owner` claimed in [start, end), as far as no later write has replaced it. */
  release(owner: Owner, start: number, end: number): void {
    // Claims cut at their ends, so what remains of this one begins inside it.
    for (const [from, fragment] of this.#fragments.getRange(start, end)) {
      if (fragment.writer === owner) fragment.writer = undefined;
      if (fragment.readers.delete(owner)) this.#entries--;
      if (fragment.writer === undefined && fragment.readers.size === 0) {
        this.#remove(from, fragment);
      }
    }
  }

  /** The fragments inside [start, end), after cutting those that reach over its ends. */
  #cut(start: number, end: number): [number, Fragment<Owner>][] {
    this.#cutAt(start);
    this.#cutAt(end);
    return this.#fragments.getRange(start, end);
  }

  #cutAt(position: number): void {
    const [from, fragment] = this.#fragments.nextLowerPair(position) ?? [];
    if (from === undefined || fragment === undefined || fragment.end <= position) return;
    this.#insert(position, fragment.end, fragment.writer, new Set(fragment.readers));
    fragment.end = position;
  }

  #insert(start: number, end: number, writer: Owner | undefined, readers: Set<Owner>): void {
    this.#fragments.set(start, { end, writer, readers });
    this.#entries += 1 + readers.size;
  }

  #remove(start: number, fragment: Fragment<Owner>): void {
    this.#fragments.delete(start);
    this.#entries -= 1 + fragment.readers.size;
  }
}
