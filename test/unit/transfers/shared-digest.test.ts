// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { Feed } from '../../../services/daemon/transfers/feed.ts';
import { eventsQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { SharedDigests } from '../../../services/daemon/transfers/shared-digest.ts';
import type { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { TransferEvent } from '../../../services/daemon/transfers/transfer-event.ts';
import { WorkWatch } from '../../../services/daemon/transfers/watch.ts';
import { seesTransfersOf, type Viewer } from '../../../services/http/access/visibility.ts';
import { MOST_BRIEF } from '../../../services/http/event-digest.ts';
import type { EventStream } from '../../../services/http/event-stream.ts';
import { makeTransfer, viewer } from './make-transfer.ts';

// How dashboards share a digest. That each of them receives what it is to receive, whoever shares it:
// watch-model.test.ts.

let feed: Feed;
let digests: SharedDigests;
let transfers: Transfer[];
beforeEach(() => {
  jest.useFakeTimers();
  feed = new Feed();
  digests = new SharedDigests(feed);
  transfers = [];
});
afterEach(() => {
  jest.useRealTimers();
});

const ANNA = viewer('anna');

/** A stream, and what it has been sent; texts that a snapshot brings are left out. */
function open(who: Viewer = ANNA, query: Record<string, string> = {}, drained = async () => {}) {
  const frames: Buffer[] = [];
  const send = (text: string | Buffer) => text instanceof Buffer && frames.push(text);
  const stream = { ended: false, idle: true, send, drained };
  const unfinished = (by: Viewer, after: string) =>
    transfers
      .filter(
        ({ id, finished, origin }) => !finished && id > after && seesTransfersOf(by, origin.client),
      )
      .map((transfer) => new TransferEvent(feed.latest, 'status', transfer));
  const options = { feed, digests, sources: [{ unfinished }] };
  const filter = eventsQuerySchema.parse({ interval_ms: '1000', ...query });
  const watch = new WorkWatch(stream as unknown as EventStream, options, who, filter);
  void watch.run(undefined);
  const close = () => {
    stream.ended = true;
    watch.end();
  };
  return { frames, stream, close };
}

function accept(members: Parameters<typeof makeTransfer>[0] = {}): Transfer {
  const transfer = makeTransfer({ segmented: true, ...members });
  transfers.push(transfer);
  feed.publish('status', transfer);
  return transfer;
}

function run(transfer: Transfer): void {
  transfer.start(transfer.plan.choice);
  feed.publish('status', transfer);
}

const flush = () => jest.advanceTimersByTimeAsync(1000);
const wholes = (frame: Buffer | undefined) => String(frame).split('"segments"').length - 1;

test('streams that ask for the same are sent the same bytes, which are made once', async () => {
  const streams = Array.from({ length: 10 }, () => open());
  const basic = open(ANNA, { view: 'basic' });
  accept();
  const textFor = jest.spyOn(TransferEvent.prototype, 'textFor');
  await flush();
  const [first] = streams.map(({ frames }) => frames[0]);
  expect(first).toBeDefined();
  for (const { frames } of streams) expect(frames[0]).toBe(first);
  expect(wholes(basic.frames[0])).toBe(0);
  // Once in either form.
  expect(textFor).toHaveBeenCalledTimes(2);
  textFor.mockRestore();
});

test('one that joins in mid-interval receives nothing that its snapshot has brought, then what all receive', async () => {
  const early = open();
  const [known, other] = [accept(), accept()];
  await flush();
  run(known);
  const late = open();
  await jest.advanceTimersByTimeAsync(10);
  run(other);
  await flush();
  // The early one is sent both; neither is sent segments again.
  const idsIn = (frame: Buffer | undefined) => String(frame).match(/"id":"[^"]+"/g);
  expect(idsIn(early.frames[1])).toEqual([`"id":"${known.id}"`, `"id":"${other.id}"`]);
  expect(idsIn(late.frames[0])).toEqual([`"id":"${other.id}"`]);
  expect(wholes(late.frames[0])).toBe(0);
  const fresh = accept();
  await flush();
  expect(late.frames[1]).toBe(early.frames[2]);
  expect(wholes(late.frames[1])).toBe(1);
  expect(idsIn(late.frames[1])).toEqual([`"id":"${fresh.id}"`]);
});

test('what a slow snapshot brings is not sent again as it was before', async () => {
  const many = Array.from({ length: 150 }, () => accept());
  let goOn = () => {};
  const drained = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { frames } = open(ANNA, {}, () => drained);
  const last = many.at(-1) as Transfer;
  run(last);
  last.bytesCompleted = 1000;
  goOn();
  await flush();
  expect(frames).toEqual([]);
  last.bytesCompleted = 2000;
  feed.publish('progress', last);
  await flush();
  expect(wholes(frames[0])).toBe(0);
  expect(String(frames[0])).toContain('"bytes_completed":2000,');
});

test('what a slow snapshot brings late has not begun unheard: its end is not one of many', async () => {
  for (let count = 0; count < 150; count++) accept();
  let goOn = () => {};
  const drained = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { frames } = open(ANNA, {}, () => drained);
  const late = accept();
  goOn();
  await jest.advanceTimersByTimeAsync(0);
  frames.length = 0;
  for (const transfer of [late, ...Array.from({ length: MOST_BRIEF }, () => accept())]) {
    transfer.finish(transfer.outcome(undefined, undefined));
    feed.publish('status', transfer);
  }
  await flush();
  expect(frames.join('').includes(`"id":"${late.id}"`)).toBe(true);
});

test('one that is slow to read goes without progress, and keeps none from those that are not', async () => {
  const [fast, slow] = [open(), open()];
  const [first, second] = [accept(), accept()];
  run(first);
  await flush();
  slow.stream.idle = false;
  first.bytesCompleted = 1000;
  feed.publish('progress', first);
  run(second);
  await flush();
  expect(String(fast.frames[1])).toContain('event: progress');
  expect(String(fast.frames[1])).toContain('event: status');
  expect(String(slow.frames[1])).not.toContain('event: progress');
  expect(String(slow.frames[1])).toContain('event: status');
  slow.stream.idle = true;
  run(accept());
  await flush();
  expect(slow.frames[2]).toBe(fast.frames[2]);
});

test('one that is closed in mid-interval is sent no more; the last one ends the digest', async () => {
  const [stays, goes] = [open(), open()];
  accept();
  goes.close();
  await flush();
  expect([stays.frames.length, goes.frames.length]).toEqual([1, 0]);
  accept();
  stays.close();
  // All that is left is kept for those that may come back.
  expect(jest.getTimerCount()).toBe(1);
  await flush();
  expect(stays.frames.length).toBe(1);
  const next = open();
  accept();
  await flush();
  expect(next.frames.length).toBe(1);
});

test('those that ask for something else share nothing, whatever their filters look like', async () => {
  const all = open();
  const queries = [{ status: 'queued' }, { label: ['job:nightly'] }, { interval_ms: '999' }];
  const others = queries.map((query) => open(ANNA, query as Record<string, string>));
  accept({ labels: { job: 'nightly' } });
  accept();
  await flush();
  const counts = others.map(({ frames }) => wholes(frames[0]));
  expect([wholes(all.frames[0]), ...counts]).toEqual([2, 2, 1, 2]);
  for (const { frames } of others) expect(frames[0]).not.toBe(all.frames[0]);
});

test('a client that sees its own work shares with none that sees more, or other work', async () => {
  const anna = open();
  const ben = open(viewer('ben'));
  const operators = [
    open(viewer('operator', 'transfers:all')),
    open(viewer('anna', 'transfers:all')),
  ];
  accept();
  await flush();
  expect(ben.frames).toEqual([]);
  expect(String(anna.frames[0])).not.toContain('"client"');
  for (const { frames } of operators) {
    expect(String(frames[0])).toContain('"client":"anna"');
    expect(frames[0]).toBe(operators[0]?.frames[0]);
  }
});
