// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { Feed } from '../../../services/daemon/transfers/feed.ts';
import { eventsQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { SharedDigests } from '../../../services/daemon/transfers/shared-digest.ts';
import { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { TransferEvent } from '../../../services/daemon/transfers/transfer-event.ts';
import { WorkWatch } from '../../../services/daemon/transfers/watch.ts';
import { seesTransfersOf, type Viewer } from '../../../services/http/access/visibility.ts';
import type { EventStream } from '../../../services/http/event-stream.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { CLOCK, makeOrigin, makePlan, viewer } from './make-transfer.ts';

// What many streams of events bring, that come, go, stall and come back in any order, is held against the
// transfers themselves.

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const VIEWERS = [viewer('anna'), viewer('ben'), viewer('operator', 'transfers:all')];
const QUERIES = [
  ...['interval_ms=100', 'interval_ms=100&view=basic', 'interval_ms=300'],
  ...['interval_ms=100&status=succeeded', 'interval_ms=100&status=queued,succeeded'],
  ...['interval_ms=100&status=running,cancelled', 'interval_ms=100&label=job:nightly', ''],
];
const LONGEST_MS = 300;

interface Document {
  id: string;
  client?: string;
  status: string;
  bytes_completed: number;
  labels: Record<string, string>;
  segments?: object[];
}

/** A client that keeps what its streams bring, one after the other. */
class Reader {
  readonly viewer: Viewer;
  readonly query: string;
  readonly view = new Map<string, Document>();
  /** Those of which it must know, if they match: alive when its snapshot was made, or later. */
  readonly due = new Set<string>();
  /** In this stream. */
  readonly had = new Set<string>();
  stream: { ended: boolean; idle: boolean } = { ended: true, idle: true };
  lastId = '';
  resumed = false;
  #watch: WorkWatch | undefined;
  #release = () => {};
  #held: Promise<void> | undefined;
  #error: Error | undefined;

  constructor(viewer: Viewer, query: string) {
    this.viewer = viewer;
    this.query = query;
  }

  get filter() {
    const values = new URLSearchParams(this.query);
    return eventsQuerySchema.parse(Object.fromEntries([...values, ...labelsIn(values)]));
  }

  open(feed: Feed, digests: SharedDigests, all: readonly Transfer[]): void {
    if (!this.stream.ended) return;
    const stream = this.#newStream();
    this.stream = stream;
    this.had.clear();
    this.resumed = this.lastId !== '';
    if (!this.resumed) this.#begin(all);
    const unfinished = (who: Viewer, after: string, count: number) =>
      all
        .filter(
          ({ id, finished, origin }) =>
            !finished && id > after && seesTransfersOf(who, origin.client),
        )
        .slice(0, count)
        .map((transfer) => new TransferEvent(feed.latest, 'status', transfer));
    const options = { feed, digests, sources: [{ unfinished }] };
    this.#all = all;
    this.#watch = new WorkWatch(
      stream as unknown as EventStream,
      options,
      this.viewer,
      this.filter,
    );
    this.#watch.run(feed.ids.parse(this.lastId)).catch((error) => {
      this.#error = error;
    });
  }

  /** Texts that it was sent and has not read. */
  #waiting = 0;

  #newStream() {
    this.#waiting = 0;
    const isFull = () => this.#held !== undefined && this.#waiting > 2;
    const stream = {
      ended: false,
      idle: this.#held === undefined,
      get full() {
        return isFull();
      },
      send: (text: string | Buffer) => {
        this.#waiting++;
        if (!stream.ended) this.#receive(String(text));
      },
      sendIfIdle: (text: () => string) => {
        if (stream.idle) stream.send(text());
      },
      drained: () => this.#held ?? Promise.resolve(),
    };
    return stream;
  }

  #all: readonly Transfer[] = [];

  #begin(all: readonly Transfer[]): void {
    this.view.clear();
    this.due.clear();
    this.resumed = false;
    for (const { id, finished } of all) if (!finished) this.due.add(id);
  }

  close(): void {
    this.stream.ended = true;
    this.#watch?.end();
    this.goOn();
  }

  /** It reads nothing any more. */
  stall(): void {
    this.stream.idle = false;
    this.#held ??= new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  goOn(): void {
    this.stream.idle = true;
    this.#waiting = 0;
    this.#held = undefined;
    this.#release();
  }

  #receive(text: string): void {
    const inThisWrite = new Set<string>();
    for (const block of text.split('\n\n')) {
      const { id, event, data } = Object.fromEntries(
        block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)),
      );
      if (id !== undefined) this.lastId = id;
      if (event === 'snapshot') this.#begin(this.#all);
      else if (data !== undefined) this.#learn(event, JSON.parse(data), inThisWrite);
    }
  }

  #learn(event: string, document: Document, inThisWrite: Set<string>): void {
    const { id, status, labels, client } = document;
    const about = `${this.viewer.name} ${this.query} ${event} ${id} ${status}`;
    const owner = this.#all.find((transfer) => transfer.id === id)?.origin.client as string;
    if (!seesTransfersOf(this.viewer, owner)) throw new Error(`not theirs: ${about}`);
    const showsOwner = this.viewer.scopes.has('transfers:all');
    if (client !== (showsOwner ? owner : undefined)) throw new Error(`owner: ${about}`);
    if (inThisWrite.has(id)) throw new Error(`twice in one write: ${about}`);
    inThisWrite.add(id);
    const { status: wanted, label, view } = this.filter;
    const statuses: readonly string[] | undefined = wanted;
    // Progress shows how it stands when it is sent.
    const fits =
      (statuses?.includes(status) ?? true) && (label === undefined || labels.job === 'nightly');
    if (event === 'status' && !fits) throw new Error(`filtered: ${about}`);
    const first = !this.had.has(id);
    this.had.add(id);
    const whole = 'segments' in document;
    if (view === 'basic' ? whole : !this.resumed && whole !== first) {
      throw new Error(`segments: ${about}`);
    }
    if (this.resumed && whole && !first) throw new Error(`segments again: ${about}`);
    const before = this.view.get(id);
    if (before !== undefined && standing(document) < standing(before)) {
      throw new Error(`older than before: ${about}`);
    }
    this.view.set(id, document);
  }

  check(all: readonly Transfer[]): void {
    if (this.#error !== undefined) throw this.#error;
    const { status: wanted, label } = this.filter;
    for (const { id, status, settings, origin } of all) {
      const fits =
        (wanted?.includes(status) ?? true) &&
        (label === undefined || settings.labels.job === 'nightly');
      if (!fits || !this.due.has(id) || !seesTransfersOf(this.viewer, origin.client)) continue;
      const seen = this.view.get(id)?.status;
      if (seen !== status) {
        throw new Error(`${this.viewer.name} ${this.query}: ${id} is ${status}, seen: ${seen}`);
      }
    }
  }
}

/** How far it has come. */
function standing({ status, bytes_completed }: Document): number {
  if (status === 'queued') return -1;
  return status === 'running' ? bytes_completed : Number.POSITIVE_INFINITY;
}

function labelsIn(values: URLSearchParams): [string, unknown][] {
  const label = values.get('label');
  return label === null ? [] : [['label', [label]]];
}

/** Daemon and clients as one. */
class Model {
  readonly feed = new Feed();
  readonly digests = new SharedDigests(this.feed);
  readonly transfers: Transfer[] = [];
  readonly readers: Reader[] = [];
  #ids = 0;

  accept(client: string, labelled: boolean): void {
    const id = `00000000-0000-7000-8000-${String(++this.#ids).padStart(12, '0')}`;
    const labels = labelled ? { job: 'nightly' } : {};
    const plan = makePlan({ segmented: true, labels });
    const transfer = new Transfer(id, plan, makeOrigin(undefined, client), CLOCK);
    this.transfers.push(transfer);
    for (const reader of this.readers) reader.due.add(id);
    this.feed.publish('status', transfer);
  }

  /** @param way what becomes of it */
  change(index: number, way: 'run' | 'progress' | 'succeed' | 'cancel' | 'relabel'): void {
    const alive = this.transfers.filter(({ finished }) => !finished);
    const transfer = alive[index % alive.length];
    if (transfer === undefined) return;
    const running = transfer.status === 'running';
    if (way === 'run') {
      if (running) return;
      transfer.start(transfer.plan.choice);
    } else if (way === 'progress') {
      if (!running) return;
      transfer.bytesCompleted++;
    } else if (way === 'relabel') {
      const { settings, change } = transfer;
      const labels = settings.labels.job === undefined ? { job: 'nightly' } : {};
      const number = (change?.number ?? 0) + 1;
      transfer.change = { number, settings: { ...settings, labels } };
    } else {
      const error = way === 'cancel' ? new Problem('cancelled', 'by a client') : undefined;
      if (error === undefined && !running) return;
      transfer.finish(transfer.outcome(undefined, error));
    }
    this.feed.publish(way === 'progress' ? 'progress' : 'status', transfer);
  }

  cancelAll(): void {
    for (const { finished } of [...this.transfers]) if (!finished) this.change(0, 'cancel');
  }

  open(who: number, query: number, stalled: boolean): void {
    const reader = new Reader(VIEWERS[who] as Viewer, QUERIES[query] as string);
    this.readers.push(reader);
    if (stalled) reader.stall();
    reader.open(this.feed, this.digests, this.transfers);
  }

  with(index: number, work: (reader: Reader) => void): void {
    const reader = this.readers[index % this.readers.length];
    if (reader !== undefined) work(reader);
  }

  async settle(): Promise<void> {
    for (const reader of this.readers) {
      reader.goOn();
      // A label may come while a client is away, and only numbers tell then what it has had.
      if (!reader.query.includes('label')) reader.open(this.feed, this.digests, this.transfers);
    }
    await jest.advanceTimersByTimeAsync(2 * LONGEST_MS);
  }
}

const index = fc.nat({ max: 200 });
const way = fc.constantFrom('run', 'progress', 'succeed', 'cancel', 'relabel') as fc.Arbitrary<
  Parameters<Model['change']>[1]
>;
const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('accept'), fc.boolean(), fc.boolean()) },
  { weight: 8, arbitrary: fc.tuple(fc.constant('change'), index, way) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('wait'), fc.nat({ max: 150 }), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('cancel all'), fc.constant(0), fc.constant(0)) },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constantFrom('open', 'open stalled'),
      fc.nat({ max: VIEWERS.length - 1 }),
      fc.nat({ max: QUERIES.length - 1 }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constantFrom('close', 'come back', 'come back stalled', 'stall', 'go on'),
      index,
      fc.constant(0),
    ),
  },
);

async function take(model: Model, [what, first, second]: readonly unknown[]): Promise<void> {
  const { feed, digests, transfers } = model;
  const number = first as number;
  if (what === 'accept') model.accept(first ? 'anna' : 'ben', second as boolean);
  if (what === 'change') model.change(number, second as Parameters<Model['change']>[1]);
  if (what === 'wait') await jest.advanceTimersByTimeAsync(number);
  if (what === 'cancel all') model.cancelAll();
  if (what === 'open' || what === 'open stalled') {
    model.open(number, second as number, what === 'open stalled');
  }
  if (what === 'close') model.with(number, (reader) => reader.close());
  if (what === 'stall') model.with(number, (reader) => reader.stall());
  if (what === 'go on') model.with(number, (reader) => reader.goOn());
  if (what === 'come back' || what === 'come back stalled') {
    model.with(number, (reader) => {
      reader.close();
      if (what === 'come back stalled') reader.stall();
      if (!reader.query.includes('label')) reader.open(feed, digests, transfers);
    });
  }
}

test('whatever streams come, go, stall and come back, each client knows in the end how all stand that it asks for', async () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 60 });
  // More than a snapshot sends at a time, or none.
  const waiting = fc.constantFrom(0, 3, 220);
  await fc.assert(
    fc.asyncProperty(waiting, steps, async (count, taken) => {
      const model = new Model();
      for (let i = 0; i < count; i++) model.accept(i % 2 ? 'anna' : 'ben', i % 3 === 0);
      for (const one of taken) await take(model, one);
      await model.settle();
      for (const reader of model.readers) if (!reader.stream.ended) reader.check(model.transfers);
      for (const reader of model.readers) reader.close();
      // What is kept for those that may come back.
      expect(jest.getTimerCount()).toBeLessThanOrEqual(VIEWERS.length);
      jest.clearAllTimers();
    }),
    { numRuns: runs(3000, 200) },
  );
}, 600_000);
