// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Access } from '../../../services/daemon/order/precedence.ts';
import { Scheduler, type Ticket } from '../../../services/daemon/order/scheduler.ts';
import { runs } from '../../support/depth.ts';
import {
  conflict,
  createMemory,
  DEVICE_BYTES,
  DEVICES,
  execute,
  type Operation,
  readBytes,
  type Step,
} from './sequential-model.ts';

const LANES = [1, 2, Number.POSITIVE_INFINITY];

const range = fc
  .record({
    device: fc.nat(DEVICES - 1),
    offset: fc.nat(DEVICE_BYTES - 1),
    size: fc.integer({ min: 1, max: DEVICE_BYTES }),
  })
  .map(({ device, offset, size }) => ({
    device,
    offset,
    size: Math.min(size, DEVICE_BYTES - offset),
  }));

/** Small ranges meet rarely and large ones always; a mix shows both. */
const smallRange = fc
  .tuple(range, fc.integer({ min: 1, max: 3 }))
  .map(([given, size]) => ({ ...given, size: Math.min(size, given.size) }));

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(smallRange, fc.nat(DEVICES - 1), fc.nat(DEVICE_BYTES - 1))
    .map(([from, device, offset]) => {
      const size = Math.min(from.size, DEVICE_BYTES - offset);
      return { kind: 'copy' as const, from: { ...from, size }, to: { device, offset, size } };
    }),
  fc.oneof(smallRange, range).map((to) => ({ kind: 'fill' as const, to })),
  fc.oneof(smallRange, range).map((from) => ({ kind: 'read' as const, from })),
);

const operation: fc.Arbitrary<Omit<Operation, 'index'>> = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 4 }),
  lane: fc.nat(LANES.length - 1),
  style: fc.constantFrom('at once' as const, 'read early, write late' as const),
});

type Live = {
  operation: Operation;
  ticket: Ticket<Operation>;
  withdrawn: boolean;
  /** When it was first seen ready: its place in its lane's line. */
  readySince: number;
};

/**
 * A scheduler beside the plainest account of what it must do: every pair of operations compared,
 * and one memory on which they run as the scheduler lets them, one on which they run in order.
 */
class Bench {
  readonly scheduler = new Scheduler<Operation>({
    lanes: LANES,
    ...waiting(),
    maxEntries: Number.POSITIVE_INFINITY,
  });
  readonly live: Live[] = [];
  readonly memory = createMemory();
  readonly #expected = createMemory();
  readonly #expectedReads: string[] = [];
  readonly #actualReads: string[] = [];
  readonly #pending = new Map<Operation, () => void>();
  #accepted: { operation: Operation; skipped: boolean }[] = [];
  readonly #conflicts: boolean[] = [];
  #clock = 0;

  accept(given: Omit<Operation, 'index'>): void {
    const operation = { ...given, index: this.#accepted.length };
    this.#accepted.push({ operation, skipped: false });
    const ticket = this.scheduler.accept(operation, accessesOf(operation), operation.lane);
    this.live.push({ operation, ticket, withdrawn: false, readySince: 0 });
    this.check();
  }

  /** Everything that may start, one after the other. */
  startNext(): boolean {
    const ready = this.live.filter(({ ticket }) => ticket.state === 'ready');
    const free = ready.filter(
      ({ operation }) => this.#startedIn(operation.lane) < (LANES[operation.lane] as number),
    );
    const ticket = this.scheduler.startNext();
    if (ticket === undefined) {
      // Liveness: none may be held back while its lane has a slot.
      assert.equal(free.length, 0);
      return false;
    }
    assert.equal(ticket.state, 'started');
    const started = free.find((candidate) => candidate.ticket === ticket) as Live;
    assert.ok(started);
    const { lane } = started.operation;
    for (const other of free) {
      if (other.operation.lane === lane) {
        assert.ok(other.readySince >= started.readySince);
      }
    }
    const { operation } = started;
    if (operation.style === 'read early, write late') {
      // Runs on what it reads now; what it writes shows when it ends.
      const copy = this.memory.map((device) => device.slice());
      this.#actualReads[operation.index] = execute(operation, copy);
      this.#pending.set(operation, () => {
        for (const { device, offset, size } of writesOf(operation)) {
          const written = (copy[device] as Uint8Array).subarray(offset, offset + size);
          (this.memory[device] as Uint8Array).set(written, offset);
        }
      });
    } else {
      this.#pending.set(operation, () => {
        this.#actualReads[operation.index] = execute(operation, this.memory);
      });
    }
    this.check();
    return true;
  }

  /** Moves the bytes of one that has started, at some moment of its run. */
  run(pick: number): void {
    const running = this.#started().filter(({ operation }) => this.#pending.has(operation));
    const chosen = running[pick % running.length];
    if (chosen !== undefined) this.#run(chosen.operation);
  }

  finish(pick: number): void {
    const started = this.#started();
    const chosen = started[pick % started.length];
    if (chosen === undefined) return;
    this.#run(chosen.operation);
    this.scheduler.release(chosen.ticket);
    this.check();
  }

  withdraw(pick: number): void {
    const open = this.live.filter(
      ({ ticket, withdrawn }) =>
        !withdrawn && (ticket.state === 'waiting' || ticket.state === 'ready'),
    );
    const chosen = open[pick % open.length];
    if (chosen === undefined) return;
    chosen.withdrawn = true;
    const accepted = this.#accepted[chosen.operation.index];
    if (accepted !== undefined) accepted.skipped = true;
    this.scheduler.release(chosen.ticket);
    // A second time changes nothing.
    this.scheduler.release(chosen.ticket);
    this.check();
  }

  /** The states of all, against every pair compared. */
  check(): void {
    const before: Operation[] = [];
    let waiting = 0;
    const gone = new Set<Live>();
    for (const live of this.live) {
      const { operation, ticket, withdrawn } = live;
      const blocked = before.some((earlier) => this.#conflict(earlier, operation));
      if (ticket.state === 'released') {
        // Only what had started, or was withdrawn and waits for nobody, can have left.
        if (withdrawn) assert.equal(blocked, false);
        gone.add(live);
        continue;
      }
      if (blocked) assert.equal(ticket.state, 'waiting');
      else {
        assert.equal(withdrawn, false);
        assert.notEqual(ticket.state, 'waiting');
        if (live.readySince === 0) live.readySince = this.#clock + 1;
      }
      if (ticket.state !== 'started') waiting++;
      before.push(operation);
    }
    for (const live of this.live) if (!live.withdrawn && !gone.has(live)) this.#checkWait(live);
    this.#clock++;
    this.live.splice(0, this.live.length, ...this.live.filter((live) => !gone.has(live)));
    assert.equal(this.scheduler.waiting, waiting);
    assert.equal(this.scheduler.started, this.live.length - waiting);
    assert.equal(this.scheduler.entries > 0, this.live.length > 0);
    const started = this.#started();
    for (const [at, one] of started.entries()) {
      for (const other of started.slice(at + 1)) {
        assert.equal(this.#conflict(one.operation, other.operation), false);
      }
    }
    for (const [lane, slots] of LANES.entries()) {
      assert.ok(this.#startedIn(lane) <= slots);
    }
  }

  /** What one is said to wait for are earlier ones that are not over; its own, but for withdrawn ones. */
  #checkWait({ operation, ticket }: Live): void {
    const wait = this.scheduler.waitOf(ticket);
    const expected = { waiting: 'order', ready: 'slot', started: undefined, released: undefined };
    assert.equal(wait?.is, expected[ticket.state]);
    if (wait?.is !== 'order') return;
    assert.ok(wait.others.length > 0);
    assert.equal(new Set(wait.others).size, wait.others.length);
    const someWithdrawn = this.live.some(({ withdrawn }) => withdrawn);
    for (const other of wait.others) {
      const live = this.live.find((one) => one.operation === other);
      assert.ok(live !== undefined && !live.withdrawn && other.index < operation.index);
      if (!someWithdrawn) assert.ok(this.#conflict(other, operation));
    }
  }

  /** Lets all end, in an order of the caller's. */
  drain(picks: readonly number[]): void {
    for (let turn = 0; this.live.length > 0; turn++) {
      while (this.startNext());
      // A deadlock: some are left, and none runs.
      assert.ok(this.#started().length > 0);
      this.finish(picks[turn % picks.length] ?? 0);
    }
    assert.equal(this.scheduler.entries, 0);
  }

  /** What must have come of it. */
  checkOutcome(): void {
    for (const { operation, skipped } of this.#accepted) {
      if (!skipped) this.#expectedReads[operation.index] = execute(operation, this.#expected);
    }
    assert.deepEqual(this.memory, this.#expected);
    assert.deepEqual(this.#actualReads, this.#expectedReads);
  }

  /** Compared once for each pair, for it is asked for at every step. */
  #conflict(one: Operation, other: Operation): boolean {
    const key = one.index * 64 + other.index;
    this.#conflicts[key] ??= conflict(one, other);
    return this.#conflicts[key];
  }

  #run(operation: Operation): void {
    this.#pending.get(operation)?.();
    this.#pending.delete(operation);
  }

  #started(): Live[] {
    return this.live.filter(({ ticket }) => ticket.state === 'started');
  }

  #startedIn(lane: number): number {
    return this.#started().filter(({ operation }) => operation.lane === lane).length;
  }
}

function accessesOf({ steps }: Pick<Operation, 'steps'>): Access[] {
  return steps.flatMap((given) => [
    ...('from' in given ? [{ ...given.from, write: false }] : []),
    ...('to' in given ? [{ ...given.to, write: true }] : []),
  ]);
}

function writesOf(operation: Operation): Access[] {
  return accessesOf(operation).filter(({ write }) => write);
}

describe('Scheduler', () => {
  test('leaves the bytes that the operations leave one after the other', () => {
    fc.assert(
      fc.property(
        fc.array(operation, { minLength: 1, maxLength: 9 }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 60 }),
        (operations, picks) => {
          const bench = new Bench();
          const queue = [...operations];
          for (const pick of picks) {
            const choice = pick % 16;
            const which = Math.floor(pick / 16);
            const next = choice < 7 ? queue.shift() : undefined;
            if (next !== undefined) bench.accept(next);
            else if (choice < 10) bench.startNext();
            else if (choice < 12) bench.run(which);
            else if (choice < 15) bench.finish(which);
            else bench.withdraw(which);
          }
          for (const left of queue) bench.accept(left);
          bench.drain(picks);
          bench.checkOutcome();
        },
      ),
      { numRuns: runs(5000) },
    );
  });

  test('A to B, B to C, C to D leave A in D, whatever ends when and wherever they lie', () => {
    const BLOCK = 3;
    const places = fc
      .shuffledSubarray(
        [0, 1].flatMap((device) => [0, 1, 2, 3].map((at) => ({ device, offset: at * BLOCK }))),
        { minLength: 4, maxLength: 4 },
      )
      .filter((given) => given.length === 4);
    fc.assert(
      fc.property(
        places,
        fc.array(fc.integer({ min: 1, max: BLOCK - 1 }), { minLength: 3, maxLength: 3 }),
        fc.array(fc.constantFrom('at once' as const, 'read early, write late' as const), {
          minLength: 3,
          maxLength: 3,
        }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 12 }),
        (blocks, cuts, styles, picks) => {
          const bench = new Bench();
          const [a, , , d] = blocks;
          const content = (place: typeof a) =>
            readBytes(bench.memory, {
              ...(place as { device: number; offset: number }),
              size: BLOCK,
            });
          const first = content(a);
          for (const [hop, cut] of cuts.entries()) {
            const from = blocks[hop] as { device: number; offset: number };
            const to = blocks[hop + 1] as { device: number; offset: number };
            // In two pieces that touch, cut elsewhere in each hop.
            const pieces: Step[] = [
              { offset: 0, size: cut },
              { offset: cut, size: BLOCK - cut },
            ].map(({ offset, size }) => ({
              kind: 'copy',
              from: { device: from.device, offset: from.offset + offset, size },
              to: { device: to.device, offset: to.offset + offset, size },
            }));
            bench.accept({ steps: pieces, lane: hop, style: styles[hop] ?? 'at once' });
          }
          bench.drain(picks);
          assert.equal(content(d), first);
          bench.checkOutcome();
        },
      ),
      { numRuns: runs(1000) },
    );
  });

  test('an operation that meets no earlier one is ready at once, behind any crowd', () => {
    const scheduler = create();
    scheduler.accept('a', [write(0, 10)], 0);
    for (let i = 0; i < 20; i++) scheduler.accept(`b${i}`, [write(5, 10)], 0);
    expect(scheduler.accept('touching', [write(15, 1), read(40, 4)], 0).state).toBe('ready');
    expect(scheduler.accept('elsewhere', [{ ...write(0, 10), device: 1 }], 0).state).toBe('ready');
    expect(scheduler.accept('meets', [read(14, 1)], 0).state).toBe('waiting');
  });

  test('readers share; a writer waits for all of them, and they for the one before', () => {
    const scheduler = create();
    const first = scheduler.accept('write', [write(0, 8)], 0);
    const readers = [0, 1, 2].map((i) => scheduler.accept(`read ${i}`, [read(i, 4)], 0));
    const last = scheduler.accept('write again', [write(0, 8)], 0);
    scheduler.startNext();
    expect(readers.map(({ state }) => state)).toEqual(['waiting', 'waiting', 'waiting']);
    scheduler.release(first);
    expect(readers.map(({ state }) => state)).toEqual(['ready', 'ready', 'ready']);
    for (const reader of readers) {
      expect(last.state).toBe('waiting');
      expect(scheduler.startNext()).toBe(reader);
      scheduler.release(reader);
    }
    expect(last.state).toBe('ready');
  });

  test('one that was withdrawn while it waited keeps those behind it in order', () => {
    const scheduler = create();
    const first = scheduler.accept('first', [write(0, 8)], 0);
    const second = scheduler.accept('second', [write(0, 8), write(16, 8)], 0);
    const third = scheduler.accept('third', [read(0, 8)], 0);
    scheduler.startNext();
    scheduler.release(second);
    expect(third.state).toBe('waiting');
    expect(scheduler.startNext()).toBeUndefined();
    scheduler.release(first);
    expect(second.state).toBe('released');
    expect(third.state).toBe('ready');
    expect(scheduler.waiting).toBe(1);
  });

  test('each lane starts as many as it has slots, first come first', () => {
    const scheduler = new Scheduler<string>({
      lanes: [2, 1],
      ...waiting(99),
      maxEntries: 99,
    });
    const accept = (name: string, lane: number, at: number) =>
      scheduler.accept(name, [write(at, 1)], lane);
    const a = accept('a', 1, 0);
    for (const [i, name] of ['b', 'c', 'd'].entries()) accept(name, 0, 10 + i);
    accept('e', 1, 1);
    const started = () => {
      const names: string[] = [];
      for (let next = scheduler.startNext(); next; next = scheduler.startNext()) {
        names.push(next.work);
      }
      return names;
    };
    expect(started().sort()).toEqual(['a', 'b', 'c']);
    scheduler.release(a);
    expect(started()).toEqual(['e']);
    expect(scheduler.started).toBe(3);
    expect(scheduler.waiting).toBe(1);
  });

  test('is full at maxWaiting, and no longer once one has started', () => {
    const scheduler = new Scheduler<number>({
      lanes: [1],
      ...waiting(3),
      maxEntries: 1000,
    });
    for (let i = 0; i < 3; i++) {
      expect(scheduler.isFull()).toBe(false);
      scheduler.accept(i, [write(i, 1)], 0);
    }
    expect(scheduler.isFull()).toBe(true);
    scheduler.startNext();
    expect(scheduler.isFull()).toBe(false);
    const other = scheduler.accept(3, [write(0, 1)], 0);
    expect(scheduler.isFull()).toBe(true);
    // Withdrawn, but still in its place: it counts until it leaves.
    scheduler.release(other);
    expect(scheduler.isFull()).toBe(true);
  });

  test('is full at maxEntries: fragments, readers in them, and who waits for whom', () => {
    const fullAt = (maxEntries: number) => {
      const scheduler = new Scheduler<number>({
        lanes: [1],
        ...waiting(1000),
        maxEntries,
      });
      scheduler.accept(0, [write(0, 8)], 0); // a fragment
      scheduler.accept(1, [read(4, 4)], 0); // another, a reader, and an edge
      return scheduler.isFull();
    };
    expect(fullAt(4)).toBe(true);
    expect(fullAt(5)).toBe(false);
  });

  test('is full at maxAccesses, though the same bytes take no more to remember', () => {
    const scheduler = new Scheduler<number>({
      lanes: [1],
      ...waiting(1000, 9),
      maxEntries: 1000,
    });
    const scattered = [write(0, 1), write(2, 1), write(4, 1)];
    const tickets = [];
    for (let i = 0; i < 3; i++) {
      expect(scheduler.isFull()).toBe(false);
      tickets.push(scheduler.accept(i, scattered, 0));
    }
    expect(scheduler.isFull()).toBe(true);
    scheduler.startNext();
    expect(scheduler.isFull()).toBe(true);
    scheduler.release(tickets[0] as (typeof tickets)[0]);
    expect(scheduler.isFull()).toBe(false);
  });

  describe('with 10,000 waiting', () => {
    const COUNT = 10_000;

    /** Bounds what is remembered, and so the work: each entry is visited a few times. */
    const bounded = (maxEntries: number) =>
      new Scheduler<number>({
        lanes: [4],
        ...waiting(2 * COUNT),
        maxEntries,
      });

    test.each(['first to last', 'last to first'])('one behind the other, withdrawn %s', (order) => {
      // One fragment and COUNT - 1 edges: a chain, and not everyone behind everyone.
      const scheduler = bounded(COUNT + 1);
      const tickets = Array.from({ length: COUNT }, (_, i) =>
        scheduler.accept(i, [write(0, 8)], 0),
      );
      expect(scheduler.isFull()).toBe(false);
      const first = scheduler.startNext() as Ticket<number>;
      const rest = tickets.slice(1);
      for (const ticket of order === 'first to last' ? rest : rest.reverse()) {
        scheduler.release(ticket);
      }
      expect(scheduler.waiting).toBe(COUNT - 1);
      scheduler.release(first);
      expect(scheduler).toMatchObject({ waiting: 0, started: 0, entries: 0 });
      expect(tickets.every(({ state }) => state === 'released')).toBe(true);
    });

    test('half of them readers, in turns with writers', () => {
      const scheduler = bounded(5 * COUNT);
      for (let i = 0; i < COUNT; i++) {
        const access = i % 4 === 0 ? write(0, 64) : read((i % 4) * 8, 8);
        scheduler.accept(i, [access], 0);
      }
      expect(scheduler.isFull()).toBe(false);
      drain(scheduler);
      expect(scheduler).toMatchObject({ waiting: 0, started: 0 });
    });

    test('all behind one, each in its own place', () => {
      const scheduler = bounded(4 * COUNT);
      scheduler.accept(-1, [write(0, 8 * COUNT)], 0);
      const tickets = Array.from({ length: COUNT }, (_, i) =>
        scheduler.accept(i, [write(8 * i, 8)], 0),
      );
      expect(scheduler.isFull()).toBe(false);
      scheduler.release(scheduler.startNext() as Ticket<number>);
      expect(tickets.every(({ state }) => state === 'ready')).toBe(true);
      for (const ticket of tickets) scheduler.release(ticket);
      expect(scheduler).toMatchObject({ waiting: 0, started: 0, entries: 0 });
    });

    test('segments side by side are remembered as one', () => {
      const scheduler = bounded(3);
      const accesses = Array.from({ length: 4096 }, (_, i) => [
        { ...read(8 * i, 8) },
        { ...write(8 * i, 8), device: 1 },
      ]).flat();
      scheduler.accept(0, accesses.reverse(), 0);
      // One fragment for the writer; one, and its reader, for the other device.
      expect(scheduler.isFull()).toBe(true);
      const roomy = bounded(4);
      roomy.accept(0, accesses, 0);
      expect(roomy.isFull()).toBe(false);
    });
  });
});

function create() {
  return new Scheduler<string>({
    lanes: [4],
    ...waiting(100),
    maxEntries: 1000,
  });
}

/** Bounds of all clients together, and of each. */
function waiting(operations = Number.POSITIVE_INFINITY, accesses = Number.POSITIVE_INFINITY) {
  const limits = { operations, bytes: Number.POSITIVE_INFINITY, accesses };
  return { maxWaiting: limits, maxWaitingOfOne: limits };
}

function read(offset: number, size: number): Access {
  return { device: 0, offset, size, write: false };
}

function write(offset: number, size: number): Access {
  return { device: 0, offset, size, write: true };
}

function drain(scheduler: Scheduler<number>): void {
  const started: Ticket<number>[] = [];
  for (;;) {
    for (let next = scheduler.startNext(); next; next = scheduler.startNext()) started.push(next);
    const over = started.shift();
    if (over === undefined) return;
    scheduler.release(over);
  }
}
