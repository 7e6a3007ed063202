// SPDX-License-Identifier: Apache-2.0
import sortedBtree from 'sorted-btree';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** Bytes [start, end) and who has a claim on them: the last writer, and the readers since. */
interface Fragment<Owner> {
  end: number;
  writer: Owner | undefined;
  /** Of most fragments there is none or one, and a Set takes 200 bytes. */
  readers: Owner | Set<Owner> | undefined;
}

interface Range {
  start: number;
  end: number;
}

/** How much work may be done before other work has its turn. */
export interface Steps {
  left: number;
}

export interface ClaimsOptions {
  /** A read of as many fragments is remembered as one range, not in each of them. */
  wideFrom?: number;
  /** Such reads are looked at one by one: beyond so many they are remembered in fragments. */
  maxWide?: number;
}

/**
 * Who, of those not yet done, last claimed which bytes of one device. It answers one question in
 * O(log n + answers): which owners does a new claim have to wait for? A write replaces what it
 * covers: what waits for the write thereby waits for all before it. So the map stays as small as
 * the claims that still matter.
 */
export class Claims<Owner> {
  readonly #fragments = new BTree<number, Fragment<Owner>>(undefined, (a, b) => a - b);
  readonly #wide = new Map<Owner, Range[]>();
  readonly #wideFrom: number;
  readonly #maxWide: number;
  #wideRanges = 0;
  #entries = 0;

  constructor({ wideFrom = 1024, maxWide = 64 }: ClaimsOptions = {}) {
    this.#wideFrom = wideFrom;
    this.#maxWide = maxWide;
  }

  /** How much is remembered: fragments, readers in them, and wide reads. */
  get entries(): number {
    return this.#entries;
  }

  /**
   * Claims the bytes [start, end) for reading.
   *
   * @param mustWaitFor receives each owner to wait for; the same one perhaps several times
   */
  read(owner: Owner, start: number, end: number, mustWaitFor: (other: Owner) => void): void {
    if (this.#wideRanges < this.#maxWide && this.#isFragmented(start, end)) {
      this.#readWide(owner, start, end, mustWaitFor);
      return;
    }
    let at = start;
    for (const [from, fragment] of this.#cut(start, end)) {
      if (from > at) this.#insert(at, from, undefined, owner);
      if (fragment.writer !== undefined && fragment.writer !== owner) mustWaitFor(fragment.writer);
      this.#addReader(fragment, owner);
      at = fragment.end;
    }
    if (at < end) this.#insert(at, end, undefined, owner);
  }

  /** Claims the bytes [start, end) for writing; see {@link read}. */
  write(owner: Owner, start: number, end: number, mustWaitFor: (other: Owner) => void): void {
    for (const [reader, ranges] of this.#wide) {
      const meets = ranges.some((range) => range.start < end && start < range.end);
      if (meets && reader !== owner) mustWaitFor(reader);
    }
    for (const [from, fragment] of this.#cut(start, end)) {
      if (fragment.writer !== undefined && fragment.writer !== owner) mustWaitFor(fragment.writer);
      for (const reader of readersOf(fragment)) {
        if (reader !== owner) mustWaitFor(reader);
      }
      this.#fragments.delete(from);
      this.#entries -= 1 + readersOf(fragment).length;
    }
    this.#insert(start, end, owner, undefined);
  }

  /**
   * Gives up what `owner` claimed in [start, end), as far as no later write has replaced it.
   *
   * @param steps what it may do, in fragments that it looks at; it counts them down
   * @returns where it has come to: `end`, or less if it is to be called again from there
   */
  release(
    owner: Owner,
    start: number,
    end: number,
    steps: Steps = { left: Number.POSITIVE_INFINITY },
  ): number {
    if (steps.left <= 0) return start;
    if (this.#releaseWide(owner, start, end)) return end;
    let at = end;
    // Claims cut at their ends, so what remains of this one begins inside it.
    this.#fragments.editRange(start, end, false, (from, fragment) => {
      if (steps.left <= 0) {
        at = from;
        return { break: true };
      }
      steps.left--;
      if (fragment.writer === owner) fragment.writer = undefined;
      this.#deleteReader(fragment, owner);
      if (fragment.writer !== undefined || fragment.readers !== undefined) return undefined;
      this.#entries--;
      return { delete: true };
    });
    return at;
  }

  #isFragmented(start: number, end: number): boolean {
    let many = false;
    this.#fragments.forRange(start, end, false, (_from, _fragment, count) => {
      many = count + 1 >= this.#wideFrom;
      return many ? { break: true } : undefined;
    });
    return many;
  }

  #readWide(owner: Owner, start: number, end: number, mustWaitFor: (other: Owner) => void): void {
    const [, before] = this.#fragments.nextLowerPair(start) ?? [];
    const meet = ({ writer }: Fragment<Owner>) => {
      if (writer !== undefined && writer !== owner) mustWaitFor(writer);
    };
    if (before !== undefined && before.end > start) meet(before);
    this.#fragments.forRange(start, end, false, (_from, fragment) => meet(fragment));
    const ranges = this.#wide.get(owner) ?? [];
    ranges.push({ start, end });
    this.#wide.set(owner, ranges);
    this.#wideRanges++;
    this.#entries++;
  }

  /** @returns whether that claim was remembered as one range */
  #releaseWide(owner: Owner, start: number, end: number): boolean {
    const ranges = this.#wide.get(owner);
    const index = ranges?.findIndex((range) => range.start === start && range.end === end) ?? -1;
    if (ranges === undefined || index < 0) return false;
    ranges.splice(index, 1);
    if (ranges.length === 0) this.#wide.delete(owner);
    this.#wideRanges--;
    this.#entries--;
    return true;
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
    const { writer, readers } = fragment;
    this.#insert(
      position,
      fragment.end,
      writer,
      readers instanceof Set ? new Set(readers) : readers,
    );
    fragment.end = position;
  }

  #insert(
    start: number,
    end: number,
    writer: Owner | undefined,
    readers: Fragment<Owner>['readers'],
  ): void {
    const fragment = { end, writer, readers };
    this.#fragments.set(start, fragment);
    this.#entries += 1 + readersOf(fragment).length;
  }

  #addReader(fragment: Fragment<Owner>, owner: Owner): void {
    const { readers } = fragment;
    if (readers instanceof Set) {
      if (!readers.has(owner)) this.#entries++;
      readers.add(owner);
    } else if (readers !== owner) {
      fragment.readers = readers === undefined ? owner : new Set([readers, owner]);
      this.#entries++;
    }
  }

  #deleteReader(fragment: Fragment<Owner>, owner: Owner): void {
    const { readers } = fragment;
    if (readers instanceof Set) {
      if (readers.delete(owner)) this.#entries--;
      if (readers.size === 0) fragment.readers = undefined;
    } else if (readers === owner) {
      fragment.readers = undefined;
      this.#entries--;
    }
  }
}

function readersOf<Owner>({ readers }: Fragment<Owner>): readonly Owner[] {
  if (readers === undefined) return [];
  return readers instanceof Set ? [...readers] : [readers];
}
