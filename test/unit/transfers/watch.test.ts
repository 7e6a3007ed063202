// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { Feed } from '../../../services/daemon/transfers/feed.ts';
import { eventsQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { SharedDigests } from '../../../services/daemon/transfers/shared-digest.ts';
import { WorkWatch } from '../../../services/daemon/transfers/watch.ts';
import type { EventStream } from '../../../services/http/event-stream.ts';
import { makeTransfer, viewer } from './make-transfer.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const ANNA = viewer('anna');

/** What an interval with an end and progress before and behind it has sent, write by write. */
async function interval(idle: boolean) {
  const feed = new Feed();
  const writes: string[] = [];
  const send = (text: string | Buffer) => writes.push(String(text));
  const stream = {
    ...{ ended: false, idle, send, drained: async () => {} },
    sendIfIdle: (text: () => string) => idle && send(text()),
  };
  const query = eventsQuerySchema.parse({ interval_ms: '1000' });
  const options = { feed, digests: new SharedDigests(feed), sources: [] };
  await new WorkWatch(stream as unknown as EventStream, options, ANNA, query).run(undefined);
  writes.length = 0;
  const [ending, other] = [makeTransfer(), makeTransfer()];
  feed.publish('status', other);
  ending.finish(ending.outcome(undefined, undefined));
  feed.publish('status', ending);
  const last = makeTransfer();
  feed.publish('progress', last);
  feed.publish('progress', other);
  jest.advanceTimersByTime(1000);
  const numbersOf = (text: string) =>
    [...text.matchAll(/^id: [0-9a-f]+-(\d+)$/gm)].map(([, number]) => Number(number));
  return { feed, ending, numbers: writes.map(numbersOf) };
}

test('an interval is one write in the order of events, so that a client misses nothing behind a part of it', async () => {
  const { feed, ending, numbers } = await interval(true);
  expect(numbers).toEqual([[1, 2, 3]]);
  expect(feed.missed(ANNA, 1)?.map(({ subject }) => subject)).toEqual([ending]);
});

test('a client that is slow to read receives what it must not miss, without progress', async () => {
  const { numbers } = await interval(false);
  expect(numbers).toEqual([[1, 2]]);
});
