// SPDX-License-Identifier: Apache-2.0
import { Slots } from '../../base/slots.ts';
import { Claims } from './claims.ts';

/** Fragments: an operation of a few hundred segments is forgotten when it leaves. */
const FORGOTTEN_AT_ONCE = 512;

/** Pairs of ranges that are compared at most: some 0.1 ms. */
const MAX_PAIRS = 10_000;

/** Bytes that an operation touches. */
export interface Access {
  /** Any value that is the same for the same device. */
  device: number;
  offset: number;
  size: number;
  write: boolean;
  /** How many it was put together of, 1 where absent; each counts towards what may wait. */
  pieces?: number;
}

export interface PlaceOptions<Operation> {
  /** Whether a crash forgets it. */
  transient?: boolean;
  /** See {@link Place}. */
  unsettled?: Place<Operation>['unsettled'];
  /** Earlier operations that it waits for, whatever bytes they touch. */
  after?: readonly Operation[];
}

/** Where an operation stands in the order. */
export class Place<Operation> {
  /** In the order; others may have it once claims of this one are forgotten. */
  number = 0;
  readonly accesses: readonly Access[];
  /** Of how many pieces its accesses were, before they were merged, and what else it waits for. */
  readonly weight: number;
  /** How many earlier operations it still waits for. */
  blockers = 0;
  /** Those, and at most as many that have left meanwhile: see {@link predecessorsOf}. */
  predecessors: Operation[] = [];
  /** Later ones that wait for it, in their order. */
  readonly blocked: Operation[] = [];
  /** A crash forgets it, though it may have written a part of its bytes by then. */
  transient: boolean;
  /**
   * If a crash forgets it, bytes where it writes may be half-written: it has begun, or one that the
   * crash forgets too has, and was to be overwritten by this.
   */
  exposed = false;
  /** What it reads may be half-written after a crash, so that it must not run then. */
  readsTransient = false;
  /** Is called once that becomes so after it entered. @returns whether what was begun may write */
  readonly unsettled: (() => Promise<boolean> | undefined) | undefined;
  /** An earlier one has left what it reads half-written. */
  torn = false;
  /** It is not in the order any more, though claims of it may be remembered. */
  left = false;

  constructor(
    accesses: readonly Access[],
    { transient = true, unsettled, after = [] }: PlaceOptions<Operation> = {},
  ) {
    this.accesses = mergeAccesses(accesses);
    this.weight = accesses.reduce((sum, { pieces = 1 }) => sum + pieces, after.length);
    this.transient = transient;
    this.unsettled = unsettled;
  }
}

/**
 * Who waits for whom: an operation for all earlier ones whose bytes it touches, where at least one
 * of the two writes.
 */
export class Precedence<Operation extends Place<Operation>> {
  readonly #operations = new Slots<Operation>();
  /** By numbers: tables of operations would keep them in memory (see base/slots.ts). */
  readonly #claims = new Map<number, Claims<number>>();
  /** Those that have left, and how far their claims are forgotten: of which access, from where. */
  readonly #leaving: { operation: Operation; access: number; at: number }[] = [];
  #edges = 0;
  #accesses = 0;

  /** How much it remembers: claimed fragments, their readers, who waits for whom. */
  get entries(): number {
    let entries = this.#edges;
    for (const claims of this.#claims.values()) entries += claims.entries;
    return entries;
  }

  /** Of all operations in the order together. */
  get accesses(): number {
    return this.#accesses;
  }

  /**
   * Puts an operation behind all others.
   *
   * @param after earlier ones that it waits for, whatever bytes they touch
   */
  enter(operation: Operation, after: readonly Operation[] = []): void {
    const mustWaitFor = (other: Operation, write: boolean) => {
      if (other.left) return;
      if (isUnsure(other)) {
        if (!write) operation.readsTransient = true;
        else if (operation.transient && touchesWritten(operation, other, true)) {
          operation.exposed = true;
        }
      }
      this.#block(operation, other);
    };
    operation.number = this.#operations.add(operation);
    for (const other of after) if (!other.left) this.#block(operation, other);
    for (const { device, offset, size, write } of operation.accesses) {
      const claims = this.#claimsOf(device);
      claims[write ? 'write' : 'read'](operation.number, offset, offset + size, (other) =>
        mustWaitFor(this.#operations.get(other) as Operation, write),
      );
    }
    this.#accesses += operation.weight;
  }

  #block(operation: Operation, other: Operation): void {
    // None comes behind it before all its accesses are claimed.
    if (other.blocked.at(-1) === operation) return;
    other.blocked.push(operation);
    operation.predecessors.push(other);
    operation.blockers++;
    this.#edges++;
  }

  /** One that is transient begins to write. @returns those whose source is unsettled from now on */
  begin(operation: Operation): Operation[] {
    operation.exposed = true;
    const unsettled: Operation[] = [];
    const open = [operation];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      for (const next of one.blocked) {
        const before = isUnsure(next);
        if (!next.readsTransient && touchesWritten(next, one, false)) {
          next.readsTransient = true;
          unsettled.push(next);
        }
        if (next.transient && !next.exposed && touchesWritten(next, one, true)) next.exposed = true;
        if (!before && isUnsure(next)) open.push(next);
      }
    }
    return unsettled;
  }

  /** An operation leaves some bytes half-written: those that wait for it are told, if they read there. */
  tear(operation: Operation, bytes: Omit<Access, 'write'>): void {
    for (const next of operation.blocked) {
      next.torn ||= next.accesses.some((access) => !access.write && overlap(access, bytes));
    }
  }

  /**
   * Takes out an operation that waits for no other. What it claimed is forgotten at once if that is
   * little, else by {@link forget}: until then it costs memory and delays nothing.
   *
   * @returns those that now do not wait for any other either
   */
  leave(operation: Operation): Operation[] {
    this.#accesses -= operation.weight;
    operation.left = true;
    this.#leaving.push({ operation, access: 0, at: 0 });
    this.forget(FORGOTTEN_AT_ONCE);
    const { blocked } = operation;
    this.#edges -= blocked.length;
    const free = blocked.filter((next) => {
      next.blockers--;
      // Half of them at a time: to take out each one by itself would take quadratic time.
      if (next.predecessors.length > 2 * next.blockers) predecessorsOf(next);
      return next.blockers === 0;
    });
    // What an array in V8's old space has dropped stays in memory as well.
    blocked.fill(operation);
    blocked.length = 0;
    return free;
  }

  /**
   * Forgets claims of operations that have left.
   *
   * @param most how many fragments it looks at, each of which takes up to a microsecond
   * @returns whether there are more
   */
  forget(most: number): boolean {
    const steps = { left: most };
    for (let next = this.#leaving[0]; next !== undefined; next = this.#leaving[0]) {
      const access = next.operation.accesses[next.access];
      if (access === undefined) {
        this.#operations.remove(next.operation.number);
        this.#leaving.shift();
        continue;
      }
      const { device, offset, size } = access;
      const from = Math.max(next.at, offset);
      const { number } = next.operation;
      next.at = this.#claimsOf(device).release(number, from, offset + size, steps);
      if (next.at < offset + size) return true;
      steps.left--;
      next.access++;
      next.at = 0;
    }
    return false;
  }

  #claimsOf(device: number): Claims<number> {
    let claims = this.#claims.get(device);
    if (claims === undefined) {
      claims = new Claims();
      this.#claims.set(device, claims);
    }
    return claims;
  }
}

/** The earlier operations that one still waits for. */
export function predecessorsOf<Operation extends Place<Operation>>(
  operation: Operation,
): readonly Operation[] {
  if (operation.predecessors.length > operation.blockers) {
    operation.predecessors = operation.predecessors.filter(({ left }) => !left);
  }
  return operation.predecessors;
}

/** Whether a crash may leave half-written where it writes. */
function isUnsure({ transient, exposed, readsTransient }: Place<unknown>): boolean {
  return (transient && exposed) || readsTransient;
}

/** Whether one reads, or writes, where another writes; of very many ranges that is taken to be so. */
function touchesWritten(one: Place<unknown>, writer: Place<unknown>, write: boolean): boolean {
  if (one.accesses.length * writer.accesses.length > MAX_PAIRS) return true;
  return one.accesses.some(
    (access) =>
      access.write === write &&
      writer.accesses.some((written) => written.write && overlap(access, written)),
  );
}

function overlap(a: Omit<Access, 'write'>, b: Omit<Access, 'write'>): boolean {
  return a.device === b.device && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

function compareAccesses(a: Access, b: Access): number {
  return a.device - b.device || Number(a.write) - Number(b.write) || a.offset - b.offset;
}

/** As most accesses are already. */
function inOrder(accesses: readonly Access[]): readonly Access[] {
  for (let index = 1; index < accesses.length; index++) {
    const [before, after] = [accesses[index - 1] as Access, accesses[index] as Access];
    if (compareAccesses(before, after) > 0) return accesses.toSorted(compareAccesses);
  }
  return accesses;
}

/** The same bytes in as few ranges as can be: segments often lie side by side. */
function mergeAccesses(accesses: readonly Access[]): Access[] {
  const merged: Access[] = [];
  for (const access of inOrder(accesses)) {
    const last = merged.at(-1);
    if (
      last?.device === access.device &&
      last.write === access.write &&
      access.offset <= last.offset + last.size
    ) {
      last.size = Math.max(last.size, access.offset + access.size - last.offset);
    } else {
      merged.push({ ...access });
    }
  }
  return merged;
}
