// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Segment, SegmentList } from '../../../services/base/segments.ts';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import type { Writing } from '../../../services/daemon/devices/written.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import type { Job } from '../../../services/daemon/engines/records.ts';
import { readClocks } from '../../../services/daemon/journal/elapsed.ts';
import { KNOWS_CHANGES } from '../../../services/daemon/journal/format.ts';
import type { Ticket } from '../../../services/daemon/order/scheduler.ts';
import type { Work } from '../../../services/daemon/order/work.ts';
import { UPLOAD_LANE } from '../../../services/daemon/order/work-lanes.ts';
import { readRecords } from '../../../services/daemon/transfers/record.ts';
import {
  type Recovered,
  reasonNotToRerun,
  recover,
  touchesItself,
} from '../../../services/daemon/transfers/recovery.ts';
import type { TransferService } from '../../../services/daemon/transfers/service.ts';
import type { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { runs } from '../../support/depth.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { FULL, MemoryMark, MemoryStore, memoryJournal } from '../../support/memory-store.ts';
import { createMemory, DEVICE_BYTES, type Memory } from '../order/sequential-model.ts';
import { makeService } from './make-service.ts';
import {
  CLOCK,
  completion,
  createOne,
  makeDevice,
  makeOrigin,
  makePlan,
  makeQueue,
  viewer,
} from './make-transfer.ts';

const DEVICES = [0, 1].map((handle) =>
  makeDevice({ name: `dax${handle}.0`, handle, size: DEVICE_BYTES }),
);
const inventory = new Inventory(DEVICES);
const chooser = makeChooser('auto', noDma());
const host = readClocks();

/** What a client asks for: bytes copied one by one, or written. */
interface Operation {
  kind: 'journaled' | 'awaited' | 'upload';
  source: number;
  destination: number;
  segments: Segment[];
}

const segment = fc
  .tuple(fc.nat(DEVICE_BYTES - 1), fc.nat(DEVICE_BYTES - 1), fc.integer({ min: 1, max: 5 }))
  .map(([src_offset, dst_offset, size]) => ({
    ...{ src_offset, dst_offset },
    size: Math.min(size, DEVICE_BYTES - Math.max(src_offset, dst_offset)),
  }));
const operation = fc
  .record({
    kind: fc.constantFrom('journaled', 'journaled', 'awaited', 'upload'),
    source: fc.nat(1),
    destination: fc.nat(1),
    segments: fc.array(segment, { minLength: 1, maxLength: 3 }),
  })
  .map((given): Operation => {
    const fit = ({ src_offset, dst_offset, size }: Segment) => ({
      ...{ src_offset, dst_offset },
      size: Math.min(size, Math.abs(src_offset - dst_offset) || DEVICE_BYTES),
    });
    const apart = given.source !== given.destination;
    const segments = apart
      ? given.segments
      : given.segments.filter((s) => s.src_offset !== s.dst_offset).map(fit);
    return segments.length > 0
      ? { ...(given as Operation), segments }
      : { ...(given as Operation), source: 0, destination: 1 };
  });

/** Each byte that an operation moves, in order. */
function* steps({ kind, source, destination, segments }: Operation, value: number) {
  for (const { src_offset, dst_offset, size } of segments) {
    for (let at = 0; at < size; at++) {
      yield (memory: Memory) => {
        const byte = kind === 'upload' ? value : (memory[source]?.[src_offset + at] as number);
        (memory[destination] as Uint8Array)[dst_offset + at] = byte;
      };
    }
  }
}

function tear(torn: Memory, { destination, segments }: Operation): void {
  for (const { dst_offset, size } of segments) {
    torn[destination]?.fill(1, dst_offset, dst_offset + size);
  }
}

/** What runs again must not read what something else left half-written. */
function assertWhole(torn: Memory, { source, segments }: Operation): void {
  for (const { src_offset, size } of segments) {
    const read = torn[source]?.subarray(src_offset, src_offset + size);
    assert.ok(
      read?.every((byte) => byte === 0),
      'it runs again on a torn source',
    );
  }
}

/** A running operation, whose bytes move when the test says so. */
interface Run {
  left: ((memory: Memory) => void)[];
  moved(): void;
  end(): void;
}

const settled = async () => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** A daemon over some memory and a disk, both of which outlive it. */
class Life {
  readonly runs: Run[] = [];
  readonly queue = makeQueue();
  readonly service: TransferService;
  readonly #memory: Memory;
  readonly #journal: ReturnType<typeof memoryJournal>['journal'];
  readonly #store: MemoryStore;

  constructor(memory: Memory, store: MemoryStore, mark: MemoryMark) {
    this.#memory = memory;
    this.#store = store;
    this.#journal = memoryJournal(store, mark).journal;
    const engine = { submit: this.#submit.bind(this), cancel: () => {} };
    // Of every second copy it takes a while, as if its source were inconsistent.
    let copies = 0;
    const asked = new Set<unknown>();
    const beforeWrite = ({ copy }: Writing) => {
      if (asked.has(copy?.id)) return undefined;
      asked.add(copy?.id);
      return ++copies % 2 === 0 ? settled() : undefined;
    };
    this.service = makeService({
      ...{ engine, queue: this.queue, journal: this.#journal, chooser, beforeWrite },
    });
  }

  /** Moves the next byte of one that runs, or ends it. */
  advance(which: number): void {
    const run = this.runs[which % this.runs.length];
    const step = run?.left.shift();
    if (step !== undefined) {
      step(this.#memory);
      run?.moved();
    } else if (run !== undefined) {
      this.runs.splice(this.runs.indexOf(run), 1);
      run.end();
    }
  }

  upload(given: Operation, value: number, moved: () => void): void {
    const accesses = given.segments.map(({ dst_offset, size }) => ({
      ...{ device: given.destination, offset: dst_offset, size, write: true },
    }));
    const run = () => {
      const end = () => this.queue.release(ticket);
      this.runs.push({ left: [...steps(given, value)], moved, end });
    };
    let placed = false;
    const ticket: Ticket<Work> = this.queue.add({
      kind: 'upload',
      client: 'anonymous',
      start: () => {
        const wait = placed ? this.queue.begin(ticket) : undefined;
        if (wait) void wait.then(run);
        else run();
      },
      accesses,
      lane: UPLOAD_LANE,
      bytes: 0,
    });
    placed = true;
    if (ticket.state === 'started') this.queue.begin(ticket);
  }

  /** What is told when a byte of it has moved, by the segments of its plan. */
  readonly watched = new Map<SegmentList, () => void>();

  async stop(): Promise<void> {
    this.#store.failure = undefined;
    this.service.close();
    await this.#journal.close();
  }

  #submit(job: Job, listener: JobListener): number {
    const { source, destination, segments } = job;
    const left = [...steps({ kind: 'journaled', source, destination, segments: [...segments] }, 0)];
    const bytesDone = left.length;
    this.runs.push({
      ...{ left, moved: this.watched.get(segments) ?? (() => {}) },
      end: () => listener.done(completion({ bytesDone })),
    });
    return this.runs.length;
  }
}

describe('after a crash', () => {
  test('bytes are as if all had run one after the other, whenever it comes', async () => {
    const event = fc.oneof(
      { weight: 8, arbitrary: operation },
      { weight: 30, arbitrary: fc.nat(3).map((which) => ({ advance: which })) },
      { weight: 8, arbitrary: fc.constant('disk' as const) },
      { weight: 1, arbitrary: fc.constant('full' as const) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { minLength: 10, maxLength: 80, size: 'max' }),
        fc.boolean(),
        async (events, lastBatchLands) => {
          const memory = createMemory();
          const store = new MemoryStore();
          const mark = new MemoryMark();
          const accepted: { given: Operation; value: number; moved: number; id?: string }[] = [];
          const first = new Life(memory, store, mark);
          let letThrough = store.hold();
          for (const what of events) {
            if (what === 'disk') {
              letThrough();
              await settled();
              letThrough = store.hold();
            } else if (what === 'full') {
              store.failure = FULL;
            } else if ('advance' in what) {
              first.advance(what.advance);
            } else {
              const entry: (typeof accepted)[number] = {
                ...{ given: what, value: 100 + accepted.length, moved: 0 },
              };
              accepted.push(entry);
              const moved = () => {
                entry.moved++;
              };
              if (what.kind === 'upload') {
                first.upload(what, entry.value, moved);
              } else {
                const [source, destination] = [DEVICES[what.source], DEVICES[what.destination]];
                const segments = SegmentList.from(what.segments);
                const plan = makePlan({
                  ...{ segments, segmented: true },
                  ...(source && { source }),
                  ...(destination && { destination }),
                });
                first.watched.set(segments, moved);
                const journaled = what.kind === 'journaled';
                createOne(first.service, plan, makeOrigin(), journaled).then(
                  ({ id }) => {
                    entry.id = id;
                  },
                  () => {},
                );
              }
            }
            await settled();
          }

          // The crash: nothing of this life is heard of again.
          const rows = new MemoryStore(store.rows);
          if (lastBatchLands) {
            letThrough();
            await settled();
            for (const [key, row] of store.rows) rows.rows.set(key, row);
          }
          const after = new MemoryMark();
          after.says = mark.says;
          const doubt = mark.set ? 'it could not be written' : undefined;
          const records = readRecords(rows.sorted(), (key) => assert.fail(key));
          const recovered = records.map((one) =>
            recover(one, { inventory, chooser, doubt, writer: KNOWS_CHANGES, clock: CLOCK, host }),
          );
          const second = new Life(memory, rows, after);
          await second.service.earlier.restore(recovered, records.at(-1)?.id);
          second.service.earlier.settle(undefined);
          for (let i = 0; i < 1000 && (second.runs.length > 0 || second.service.queued > 0); i++) {
            second.advance(i);
            if (second.runs.length === 0) await settled();
          }

          const fate = new Map(recovered.map((one): [string, Recovered] => [one.transfer.id, one]));
          const expected = createMemory();
          // Bytes that something left half-written which the crash made forgotten.
          const torn = createMemory().map((bytes) => bytes.fill(0));
          for (const { given, value, moved, id } of accepted) {
            const all = [...steps(given, value)];
            const again = id !== undefined && fate.get(id)?.kind === 'again';
            if (again) assertWhole(torn, given);
            for (const step of all.slice(0, again ? all.length : moved)) step(expected);
            if (again || moved === all.length) for (const step of steps(given, 0)) step(torn);
            else if (moved > 0 && !fate.has(id ?? '')) tear(torn, given);
            if (id === undefined || given.kind !== 'journaled') continue;
            const now: Transfer | undefined = await second.service.get(id, viewer('anna'));
            assert.ok(now.finished);
            if (now.status === 'succeeded') assert.ok(again || moved === all.length);
            else assert.equal(fate.get(id)?.kind, 'interrupted');
          }
          assert.deepEqual(memory, expected);
          letThrough();
          await first.stop();
          await second.stop();
        },
      ),
      { numRuns: runs(500) },
    );
  });
});

describe('touchesItself', () => {
  test('says whether a byte is both read and written, in whatever segments', () => {
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        (segments, apart) => {
          const [source, destination] = [DEVICES[0], DEVICES[apart ? 1 : 0]];
          const plan = makePlan({
            ...{ segments },
            ...(source && { source }),
            ...(destination && { destination }),
          });
          const bytes = (offset: 'src_offset' | 'dst_offset') =>
            segments.flatMap((s) => Array.from({ length: s.size }, (_, at) => s[offset] + at));
          const written = new Set(bytes('dst_offset'));
          const touches = !apart && bytes('src_offset').some((byte) => written.has(byte));
          assert.equal(touchesItself(plan), touches);
        },
      ),
      { numRuns: runs(1000) },
    );
  });
});

describe('reasonNotToRerun', () => {
  test.each([
    [{}, true],
    [{ begun: true }, true],
    [{ touchesItself: true }, true],
    [{ begun: true, touchesItself: true }, false],
    [{ doubt: 'the journal' }, false],
    [{ sourceUnsettled: true }, false],
    // Its turn came, and with it the end of what it waited for.
    [{ sourceUnsettled: true, begun: true }, true],
    [{ sourceLost: true }, false],
    [{ begun: true, reruns: 1 }, true],
    [{ begun: true, reruns: 2 }, false],
  ])('%j: again %p', (context, again) => {
    const otherwise = { begun: false, touchesItself: false, sourceUnsettled: false };
    const rest = { sourceLost: false, reruns: 0, doubt: undefined };
    expect(reasonNotToRerun({ ...otherwise, ...rest, ...context }) === undefined).toBe(again);
  });
});
